"""A cluster as its users run it: a master process that prints its addresses, and its workers."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Self

from benchmarks.clients import get_json
from tests.brokers.redis.test_process import is_alive
from tests.forked_process import ForkedProcess
from tests.server_process import PROGRAM, ROOT

# Longer than anything takes on a busy machine: reached only when a test fails.
SECONDS = 40


def words_after(line: str, start: str) -> list[str]:
    assert line.startswith(start), line
    return line.removeprefix(start).split()


class Cluster:
    """``realtime cluster …`` at free ports; leaving the context ends it at once.

    Its master is forked, except where a test has its own `stdin` or `prepare`.
    """

    def __init__(
        self,
        hub: str,
        *options: str,
        workers: int = 3,
        stdin: int = subprocess.DEVNULL,
        prepare: Callable[[], None] | None = None,  # runs in the new process
    ) -> None:
        self._command = ["cluster", "--workers", str(workers)]
        self._command += ["--base-port", "0", "--status-port", "0", "--hub", hub]
        self._command += ["--messages-per-second", "0", "--drain-seconds", "0.3", *options]
        self._stdin, self._prepare = stdin, prepare
        self._killed = False

    def __enter__(self) -> Self:
        self.process = self._start()
        assert self.process.stdout is not None
        status = words_after(self.process.stdout.readline(), "realtime: status at ")
        self.url = status[0].rstrip("/")
        urls = words_after(self.process.stdout.readline(), "realtime: workers at ")
        self.urls = [url.rstrip("/") for url in urls]
        self.ports = [int(url.rpartition(":")[2]) for url in self.urls]
        self.nginx_url = ""
        if "--nginx" in self._command:
            words = words_after(self.process.stdout.readline(), "realtime: nginx at ")
            self.nginx_url = words[0].rstrip("/;")
        return self

    def _start(self) -> "ForkedProcess | subprocess.Popen[str]":
        if self._stdin == subprocess.DEVNULL and self._prepare is None:
            return ForkedProcess(self._command, ROOT)
        return subprocess.Popen(
            [sys.executable, *PROGRAM, *self._command],
            stdin=self._stdin,
            preexec_fn=self._prepare,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None and not self._killed:
            self.process.send_signal(signal.SIGINT)
        try:
            _, self.log = self.process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            for pid in [*self.children(), self.process.pid]:
                os.kill(pid, signal.SIGKILL)
            raise
        assert self.process.returncode == (-signal.SIGKILL if self._killed else 0), self.log
        assert "Traceback" not in self.log, self.log

    def kill(self) -> None:
        """End the master as a power failure would."""
        self.process.kill()
        self._killed = True

    # --- its status ------------------------------------------------------------------------------

    async def status(self) -> Any:
        """Return its status; the workers of other masters on the same hub are in `others`."""
        status = await get_json(self.url, "/status")
        rows = status["workers"]
        status["workers"] = [row for row in rows if row["ours"]]
        status["others"] = [row for row in rows if not row["ours"]]
        return status

    async def until(self, true: Callable[[Any], bool]) -> Any:
        """Return the first status for which `true` is true."""
        async with asyncio.timeout(SECONDS):
            while not true(status := await self.status()):
                await asyncio.sleep(0.02)
        return status

    async def until_ready(self) -> Any:
        return await self.until(lambda s: all(w["state"] == "ready" for w in s["workers"]))

    async def kill_worker(self, index: int) -> int:
        """Kill a worker that runs, and return its pid."""
        pid: int = (await self.until(lambda s: s["workers"][index]["pid"]))["workers"][index]["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def children(self) -> list[int]:
        own = self.process.pid
        with open(f"/proc/{own}/task/{own}/children") as children:
            return [int(pid) for pid in children.read().split()]

    # --- its log ---------------------------------------------------------------------------------

    def steps(self, *messages: str) -> list[tuple[int, str]]:
        """Return the worker and the message of each log line with one of these messages."""
        lines = [json.loads(line) for line in self.log.splitlines() if line[:1] == "{"]
        return [
            (line.get("worker") or line["port"], line["message"])
            for line in lines
            if line["message"] in messages and ("worker" in line or "port" in line)
        ]


async def until_gone(pids: list[int]) -> None:
    async with asyncio.timeout(SECONDS):
        while any(map(is_alive, pids)):
            await asyncio.sleep(0.02)
