"""Processes of `realtime` that are forked, since the imports of a start take 0.6 s of CPU.

The tests start hundreds of servers.  A fork server of `multiprocessing` has imported the program
once; each server is a copy of that process, with its own arguments, environment and pipes.
tests/cli/ starts the program as its users do.
"""

import gc
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, wait
from threading import Lock
from typing import NoReturn, TextIO

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.forked_program"])

# Tests start and stop servers in threads, and `multiprocessing` is not made for that.
_lock = Lock()


def _run(
    arguments: Sequence[str], folder: str, environment: dict[str, str], *pipes: Connection
) -> NoReturn:
    """Run the program in this process, as `python -m realtime` would."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, pipe in enumerate(pipes, start=1):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    from realtime.cli.main import main

    status = main(arguments)
    gc.collect()  # complains about a task that nobody awaited, as the end of the interpreter would
    raise SystemExit(status)


def _read(pipe: TextIO | None) -> str:
    if pipe is None or pipe.closed:
        return ""
    with pipe:
        return pipe.read()


class ForkedProcess:
    """What the tests use of `subprocess.Popen`, for a run of `realtime` with these arguments."""

    def __init__(self, arguments: Sequence[str], folder: os.PathLike[str]) -> None:
        (stdout, child_stdout), (stderr, child_stderr) = (
            _context.Pipe(duplex=False) for _ in range(2)
        )
        start = (list(arguments), os.fspath(folder), dict(os.environ))
        with stdout, stderr, child_stdout, child_stderr, _lock:
            self._process = _context.Process(
                target=_run, args=(*start, child_stdout, child_stderr), daemon=True
            )
            self._process.start()
            self.stdout: TextIO | None = os.fdopen(os.dup(stdout.fileno()))
            self.stderr: TextIO | None = os.fdopen(os.dup(stderr.fileno()))
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, or minus the number of the signal that ended it."""
        with _lock:
            return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not wait([self._process.sentinel], timeout):
            raise subprocess.TimeoutExpired("realtime", timeout or 0)
        status = self.returncode
        assert status is not None
        return status

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read both pipes to their ends and wait; a process whose pipe is full would not end."""
        with ThreadPoolExecutor() as pool:
            reading = [pool.submit(_read, pipe) for pipe in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        output, complaints = (future.result() for future in reading)
        return output, complaints

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
