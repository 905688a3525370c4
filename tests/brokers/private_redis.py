"""A private Redis that a test can kill, freeze and restart, with or without its data.

It listens on a Unix socket in its own folder.  It writes to disk only if a test asks for a snapshot
or for the append-only file.
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

# A start or a stop takes less, even on a slow machine.
SECONDS = 20


class PrivateRedis:
    """A real server; the context manager stops it.  `options` are added to its command line."""

    def __init__(self, *options: str, append_only: bool = False) -> None:
        program = find_program()
        if program is None:
            missing("redis-server (or valkey-server)")
        # Not pytest's folder: the path of a Unix socket has at most 107 bytes (unix(7)).
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.path = str(self._folder / "redis.sock")
        self._process: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] | None = None  # None: that of the tests
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
        """Start with the data on disk; return when it is loaded and the server replies."""
        self._process = subprocess.Popen(self._command, env=self._environment)
        deadline = time.monotonic() + SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            if (reply := self._send("PING")) and "LOADING" not in reply:
                return
            time.sleep(0.01)
        self.stop()
        pytest.fail(f"Redis does not start: {(self._folder / 'redis.log').read_text()}")

    def repair(self) -> None:
        """Resume it if a test left it frozen, and start it if a test left it stopped."""
        self.resume()
        if self._process is None:
            self.start()

    def kill(self) -> None:
        """Stop it like a power cut: it saves nothing and closes nothing."""
        self._stop(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it, and start it with the data on disk."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Stop it, frozen or not."""
        self.resume()
        self._stop(signal.SIGTERM)

    def pause(self) -> None:
        """Freeze it: connections stay open, and it does not reply."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def delete_data(self) -> None:
        """Delete the data on disk while the server is stopped."""
        for path in (self._folder / "appendonlydir", self._folder / "dump.rdb"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def snapshot(self) -> None:
        """Write all data to disk now; the next start loads it."""
        assert "OK" in self._send("SAVE")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _stop(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _send(self, command: str) -> str:
        """Return the first line of the reply, or an empty string while the server is down."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(SECONDS)
            if connection.connect_ex(self.path) != 0:
                return ""
            connection.sendall(f"{command}\r\n".encode())
            return connection.makefile().readline()
