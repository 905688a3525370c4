# Everything is installed into .venv, which `make clean` removes; only `make test`, run as root on
# Debian, installs programs with apt-get (tools/parts.sh).

PORT ?= 8000
# The first Python that is new enough; `make run PYTHON=…` uses another one.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

bin := .venv/bin
# Most tests wait most of the time, so six run at once.  Tests that measure time run afterwards, two
# at once.  Exit status 5 means that no test matched.
pytest = { $(bin)/python -m pytest --dist worksteal $(1) $(ARGS); case $$? in 0|5) ;; *) false ;; esac; }
install := $(bin)/python -m pip install --quiet --no-input --disable-pip-version-check -c constraints.txt

# What the server uses where it can be had.
extras := valkey zstd webtransport
comma := ,
space := $() $()

.PHONY: help run cluster test check format soak bench reference peers vendor pictures constraints clean
# One target at a time, even with -j: check and test share a terminal.
.NOTPARALLEL:

help:
	@sed -n 's/^\([a-z]*\):.* ## /  make \1	/p' Makefile

# Six ports, since a browser opens six connections to each, and eight network emulators.
run: .venv/run.stamp vendor ## start the server: make run PORT=9000 ARGS="--hub memory"
	@exec $(bin)/python -m realtime --port $(PORT) --lanes 6 --networks 8 $(ARGS)

# Another port than `make run`, so that both can run at once.
cluster: PORT = 8080
cluster: WORKERS = 4
cluster: .venv/run.stamp vendor ## a Redis, four workers, and nginx in front: make cluster WORKERS=8
	@exec $(bin)/python -m realtime cluster --hub spawn --workers $(WORKERS) --nginx $(PORT) $(ARGS)

# nginx and haproxy are in /usr/sbin, which Debian has only in the PATH of root.
test: export PATH := $(PATH):/usr/sbin
# Missing programs are reported before the tests and, where people look, after them.
test: .venv/dev.stamp tests/vendor/vendor.stamp benchmarks/report/vendor/vendor.stamp ## run every test: make test ARGS="-k long_polling"; STRICT=1 forbids missing parts
	@sh tools/parts.sh .venv/missing; cat .venv/missing
	@[ -z "$(STRICT)" ] || [ ! -s .venv/missing ] || { echo 'STRICT=1: nothing may be missing.'; exit 1; }
	@$(call pytest,-n 6 -m 'not clocked') && $(call pytest,-n 2 -m clocked); status=$$?; cat .venv/missing; exit $$status

check: .venv/dev.stamp ## formatting, lint and types
	@$(bin)/ruff format --check .
	@$(bin)/ruff check .
	@$(bin)/mypy

format: .venv/dev.stamp ## rewrite the sources as check wants them
	@$(bin)/ruff check --fix --quiet . ; $(bin)/ruff format .

SECONDS ?= 120
soak: .venv/dev.stamp ## random faults, then an audit: make soak SECONDS=3600 SEED=7
	@$(bin)/python -m tests.soak --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

bench: .venv/bench.stamp benchmarks/report/vendor/vendor.stamp ## run all benchmarks: make bench ARGS=--quick (6 minutes)
	@$(bin)/python -m benchmarks $(ARGS)

reference: .venv/bench.stamp ## publish the results of `make bench`: copy them, and update the tables of docs/scale.md
	@$(bin)/python -m benchmarks.method.reference $(ARGS)

# Socket.IO runs on Node.js; nchan is Debian's libnginx-mod-nchan.  `bench` reports what is missing.
peers: benchmarks/competitors/node_modules/.package-lock.json ## set up what benchmarks.peers compares with

benchmarks/competitors/node_modules/.package-lock.json: benchmarks/competitors/package-lock.json
	@npm ci --prefix benchmarks/competitors --no-audit --no-fund --silent

# The libraries of others that the pages use.  Without a network the pages work without them.
vendor: demos/vendor/vendor.stamp

demos/vendor/vendor.stamp: package-lock.json tools/vendor.py | $(bin)/python
	@if $(bin)/python tools/vendor.py; then touch $@; fi

tests/vendor/vendor.stamp: package-lock.json tools/vendor.py | $(bin)/python
	@if $(bin)/python tools/vendor.py demos tests; then touch $@ demos/vendor/vendor.stamp; fi

# Vega draws the charts of the report, which has them inside its one file.
benchmarks/report/vendor/vendor.stamp: benchmarks/report/package-lock.json tools/vendor.py | $(bin)/python
	@if $(bin)/python tools/vendor.py report; then touch $@; fi

pictures: .venv/dev.stamp vendor ## make the pictures of the docs again: screenshots of the real pages, charts of the results
	@$(bin)/python -m tools.pictures

constraints: $(bin)/python ## update constraints.txt to the newest versions that setup.cfg allows
	@$(bin)/python -m pip install --quiet uv
	@$(bin)/uv pip compile setup.cfg --all-extras --universal --python-version 3.11 --upgrade --quiet \
		--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make constraints' \
		--output-file constraints.txt

clean: ## remove everything that make has created
	@rm -rf .venv build dist results report test-output demos/vendor tests/vendor benchmarks/report/vendor benchmarks/competitors/node_modules *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# On Debian, Python may lack ensurepip, and a .venv would have no pip: check first.
$(bin)/python:
	@[ -n "$(PYTHON)" ] || { echo 'Python 3.11 or newer is needed and was not found: make run PYTHON=/path/to/python'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo '$(PYTHON) cannot create a virtual environment. On Debian: apt-get install python3-venv'; exit 1; }
	@$(PYTHON) -m venv --clear .venv

# A stamp has the time of the last successful installation, so nothing is installed twice.
.venv/run.stamp: $(bin)/python setup.cfg pyproject.toml constraints.txt
	@echo 'Setting up .venv; this takes half a minute, once.'
	@$(install) --editable '.[$(subst $(space),$(comma),$(extras))]' || { $(install) --editable . && for extra in $(extras); do \
		$(install) --editable ".[$$extra]" || echo "The extra $$extra is not available here; continuing without it."; done; }
	@touch $@

.venv/bench.stamp: .venv/run.stamp
	@$(install) --editable '.[bench]'
	@touch $@

.venv/dev.stamp: .venv/run.stamp
	@echo 'Adding the packages for tests and checks, once.'
	@$(install) --editable '.[tickets,zstd,webtransport,bench,test,dev]'
	@touch $@
