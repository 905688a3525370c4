"""The wheel is complete: installed away from the checkout, it serves the pages."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent

# What Python and npm leave in the source folders.
LEFTOVERS = {"__pycache__", "node_modules", "vendor.stamp"}
# Neither a wheel nor a server takes longer, even on a slow machine.
SECONDS = 60


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Built from a copy: a `build` folder in the checkout would put deleted files into the wheel.
    source = tmp_path_factory.mktemp("source") / "realtime"
    leftovers = shutil.ignore_patterns(".*", *LEFTOVERS, "*.egg-info", "build", "dist", "results")
    shutil.copytree(ROOT, source, ignore=leftovers)
    target = tmp_path_factory.mktemp("wheel")
    # No isolation: setuptools comes with the test extra, and no network is needed.
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", target, source)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def installed_server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that runs from the wheel, in a folder without our sources."""
    packages = tmp_path_factory.mktemp("packages")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    pip("install", "--no-deps", "--no-index", "--target", packages, wheel)
    # -S: the dependencies come from PYTHONPATH alone.  The .pth file of an editable install is not
    # read; it would add the files of the checkout to those of the wheel.
    paths = [str(packages), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    command = [sys.executable, "-S", "-m", "realtime", "--port", "0", "--hub", "memory"]
    server = subprocess.Popen(
        command,
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    # A server that prints nothing is killed, which ends the loop below.
    timer = threading.Timer(SECONDS, server.kill)
    timer.start()
    try:
        assert server.stdout
        output = ""
        for line in server.stdout:
            output += line
            if match := re.search(r"http://[^/\s]*:(\d+)", line):
                break
        else:
            pytest.fail(f"the server ended without an address:\n{output}")
        yield f"http://127.0.0.1:{match[1]}"
    finally:
        timer.cancel()
        server.terminate()
        # Reads the pipe to its end, so that the server can write everything and stop.
        server.communicate(timeout=SECONDS)


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    folders = {"realtime": "realtime", "demos": "realtime/demos"}
    expected = {
        f"{inside}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, inside in folders.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not LEFTOVERS & {*path.parts}
    }
    missing = expected - set(ZipFile(wheel).namelist())
    assert not missing, f"not in the wheel, see package_data in setup.cfg: {sorted(missing)}"


def test_the_wheel_adds_only_one_top_level_package(wheel: Path) -> None:
    """A package `benchmarks` or `tests` would collide with those of other projects."""
    names = {name.split("/")[0] for name in ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"realtime"}


def test_the_distribution_does_not_take_the_name_of_another_project(wheel: Path) -> None:
    assert wheel.name.startswith("realtime_transports-")  # `realtime` on the index is not ours


@pytest.mark.parametrize("page", ["/", "/demos/static/style.css"])
def test_an_installed_server_serves_its_pages(installed_server: str, page: str) -> None:
    with urllib.request.urlopen(installed_server + page, timeout=10) as answer:
        assert answer.status == 200
        assert answer.read()
