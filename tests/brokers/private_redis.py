"""A Redis of our own, that a test may kill, freeze and start again, with or without a memory.

It listens on a Unix socket in a folder of its own.  Nothing is written to disk unless a test asks
for a snapshot, or for the append-only file.
"""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from realtime.brokers.redis.process import find_program
from tests.conftest import missing

# Neither a start nor an end takes longer, even on a slow machine.
SECONDS = 20


class PrivateRedis:
    """A real server; leaving the context ends it.  `options` are added to its command line."""

    def __init__(self, *options: str, append_only: bool = False) -> None:
        program = find_program()
        if program is None:
            missing("redis-server (or valkey-server)")
        # Not pytest's folder: the path of a Unix socket has 107 bytes (unix(7)).
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.path = str(self._folder / "redis.sock")
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [
            *(str(program), "--port", "0", "--unixsocket", self.path),
            *("--dir", str(self._folder), "--logfile", str(self._folder / "redis.log")),
            *("--save", "", "--appendonly", "yes" if append_only else "no"),
            *("--appendfsync", "always", *options),
        ]
        self.url = f"unix://{self.path}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Begin, with what is on disk; return when it has read that and answers."""
        self._process = subprocess.Popen(self._command)
        deadline = time.monotonic() + SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            if (answer := self._says("PING")) and "LOADING" not in answer:
                return
            time.sleep(0.01)
        self.stop()
        pytest.fail(f"no Redis: {(self._folder / 'redis.log').read_text()}")

    def kill(self) -> None:
        """End it as a power cut would: nothing is saved, nobody is told."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it, and start it with what was on disk then."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End it, frozen or not."""
        self.resume()
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Freeze it: connections stay open, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def forget(self) -> None:
        """Remove, while it is dead, all that it wrote to disk."""
        for written in (self._folder / "appendonlydir", self._folder / "dump.rdb"):
            if written.is_dir():
                shutil.rmtree(written)
            else:
                written.unlink(missing_ok=True)

    def snapshot(self) -> None:
        """Write all to disk now; this is what the next start will find."""
        assert "OK" in self._says("SAVE")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _says(self, command: str) -> str:
        """The first line of an answer, or nothing while nobody is there."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(SECONDS)
            if connection.connect_ex(self.path) != 0:
                return ""
            connection.sendall(f"{command}\r\n".encode())
            return connection.makefile().readline()
