"""Run the command line in this process, which takes milliseconds instead of a second."""

import contextlib
import io
from dataclasses import dataclass

from realtime.cli.main import run as run_command


@dataclass(frozen=True)
class Result:
    """The exit status, and what was printed."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str) -> Result:
    """Run `realtime` with these arguments, as its users do, except for logs and file limits."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            status = run_command(arguments)
        except SystemExit as error:  # argparse
            assert isinstance(error.code, int)
            status = error.code
    return Result(status, stdout.getvalue(), stderr.getvalue())
