"""Standard input, output and error, made safe before anything else uses them.

A service manager or a shell can close them (``realtime >&-``), the reader of a pipe can end, and
the encoding of the output can lack some characters.  None of this may stop a server.
"""

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any

# The reader of the pipe has ended; the terminal has closed.
_READER_IS_GONE = (errno.EPIPE, errno.EIO)


class _Output(io.FileIO):
    """A file that discards what nobody can read any more; a full disk is still an error.

    `failure` is that error: argparse ignores it when it prints its help.
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _READER_IS_GONE:
                self.failure = error
                raise
            return len(data)


def secure() -> None:
    """Open what is closed; from now on no character and no broken pipe is an error."""
    # Otherwise a connection would get the number of a standard stream, and receive our log; libuv
    # even aborts the process.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - it stays open
    sys.stdout = _safe(sys.stdout, 1)
    sys.stderr = _safe(sys.stderr, 2)


def run(main: Callable[[], int]) -> int:
    """Run a program with safe streams, and return its exit status; 1 if its output is incomplete.

    ``python -m benchmarks.compare A B | head -1`` ends with 0, as its reader wished.
    """
    secure()
    try:
        status = main()
    except SystemExit as ended:  # argparse has printed its help, or what is wrong
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return status if flush(quiet=status != 0) else 1


def flush(*, quiet: bool = False) -> bool:
    """Write what is left of the output; report a failure, if not `quiet`, and return False."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    try:
        if failure := getattr(raw, "failure", None):
            raise failure
        sys.stdout.flush()
    except OSError as error:
        if not quiet:
            print(f"realtime: {error}", file=sys.stderr)
        # The interpreter flushes once more at its exit, and would report a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return False
    return True


def _safe(stream: Any, number: int) -> io.TextIOWrapper:
    """Return a stream like `stream`, which is None if it was closed."""
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(number, "w", closefd=False)),
        encoding=stream.encoding if stream else "utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
