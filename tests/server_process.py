"""A server as its users run it: a process, which is ready when it prints its first line."""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.forked_process import ForkedProcess

ROOT = Path(__file__).parent.parent
PROGRAM = ("-m", "realtime")
FIRST_LINE = re.compile(r"realtime: listening on (https?://[^/]+:(\d+))/ \(hub: (.+)\)\n")


class Server:
    """``realtime --port 0 …``; leaving the context stops it, which must succeed.

    A `program` has the arguments of another start of Python, without a fork.
    """

    def __init__(self, *options: str, program: Sequence[str] = ()) -> None:
        self._options = options
        self._program = program
        self._stopped = self._killed = False

    def __enter__(self) -> Self:
        self.process = self._start(["--port", "0", *self._options])
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = FIRST_LINE.fullmatch(line)
        if match is None:
            self.process.kill()
            raise AssertionError(f"{line!r}, and then {self.process.communicate()}")
        self.url, self.port, self.hub = match[1], int(match[2]), match[3]
        return self

    def _start(self, arguments: Sequence[str]) -> "ForkedProcess | subprocess.Popen[str]":
        if not self._program:
            return ForkedProcess(arguments, ROOT)
        command = [sys.executable, *self._program, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Send a signal to stop; SIGTERM drains readers first, a second signal stops at once."""
        self._stopped = True
        self.process.send_signal(number)

    def kill(self) -> None:
        """End the process as a power failure would."""
        self.process.kill()
        self._killed = True

    async def ended(self) -> None:
        """Return when the process has exited by itself."""
        await asyncio.to_thread(self.process.wait, 20)

    def __exit__(self, *error: object) -> None:
        if not self._stopped and not self._killed:
            self.stop()
        _, complaints = self.process.communicate(timeout=20)
        self.complaints = complaints or ""  # a test may close the pipe
        assert self.process.returncode == (-signal.SIGKILL if self._killed else 0), self.complaints
        assert "Traceback" not in self.complaints, self.complaints
