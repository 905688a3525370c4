"""Where a measurement happens: a server, perhaps a network before it, and what they cost.

Server, network and load generator are processes of their own.  The server is one that the script
starts, with a hub of its own and no limit on rates; or somebody's, by its address.
"""

import asyncio
import json
import re
import resource
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, Self
from urllib.error import URLError
from urllib.request import urlopen

from realtime.brokers.redis.process import RedisProcess, RedisStartError, find_program
from realtime.netem.conditions import NetworkConditions
from realtime.tasks import die_with_parent

# A process says its first line within this time, even on a busy machine.
_LINE = re.compile(r"(http://\S+?)/? ")


class TestbedError(Exception):
    """What is to be measured cannot be had; the message says why."""


class Cost(Protocol):
    """What a server has cost so far, and holds now."""

    def cpu_seconds(self) -> float: ...
    def memory_bytes(self) -> float: ...


class ProcessCost:
    """Of processes on this machine, as the kernel counts: time to the nanosecond.

    Memory is what a process has written (anonymous pages), and none of the programs and libraries
    that it shares with others, whose number changes meanwhile.
    """

    def __init__(self, *pids: int) -> None:
        self._pids = pids

    def cpu_seconds(self) -> float:
        # Documentation/scheduler/sched-stats.rst: nanoseconds on a CPU come first.
        return sum(
            int((task / "schedstat").read_text().split()[0]) / 1e9
            for pid in self._pids
            for task in Path(f"/proc/{pid}/task").iterdir()
        )

    def memory_bytes(self) -> float:
        return sum(map(_anonymous_bytes, self._pids))


def _anonymous_bytes(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Anonymous: +(\d+) kB", rollup, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


class MetricsCost:
    """Of a server elsewhere, as it tells in `/metrics`; time to 10 ms."""

    def __init__(self, url: str) -> None:
        self._url = url

    def cpu_seconds(self) -> float:
        return self._read("process_cpu_seconds_total")

    def memory_bytes(self) -> float:
        return self._read("process_resident_memory_bytes")

    def _read(self, name: str) -> float:
        with urlopen(f"{self._url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        if found is None:
            raise TestbedError(f"{self._url}/metrics does not tell {name}")
        return float(found[1])


def raise_open_file_limit(count: int) -> None:
    """Let this process have so many files open, of which most are sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise TestbedError(
            f"{count} files cannot be open here, only {hard} (ulimit -Hn): ask for fewer followers"
        )
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def start_shared_hub(hub: str, stack: ExitStack) -> tuple[str, str]:
    """Give a hub that several processes can share, and its name; `hub` may be one."""
    if hub not in ("auto", "spawn"):
        return hub, hub
    program = find_program()
    if program is None:
        raise TestbedError("several processes need a Redis, and none was found")
    try:
        server = asyncio.run(RedisProcess.start(program))
    except RedisStartError as error:
        raise TestbedError(str(error)) from error
    stack.callback(server.close)
    return server.url, f"{program.name.removesuffix('-server')}, shared"


class MeasuredProcess:
    """A program that prints its address on its first line, and ends when it is told."""

    def __init__(self, command: list[str]) -> None:
        self._popen = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Else a `kill -9` of ours would leave it running for ever.
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        found = _LINE.search(line + " ")
        if found is None:
            self.close()
            raise TestbedError(f"{' '.join(command)} did not begin")
        self.url = found[1]
        self.pid = self._popen.pid

    def close(self) -> None:
        # SIGINT, where SIGTERM would let readers go one by one.
        self._popen.send_signal(2)
        try:
            self._popen.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.communicate()


class ServerUnderTest:
    """A server to be measured; a context manager that ends what it began."""

    def __init__(self, url: str | None = None, hub: str = "auto", *options: str) -> None:
        self._given = url
        self._command = [
            *(sys.executable, "-m", "realtime", "--port", "0", "--hub", hub),
            *("--messages-per-second", "0", "--connections-per-address", "20000", *options),
        ]
        self._stack = ExitStack()
        self._networks: dict[tuple[str, int], str] = {}

    def __enter__(self) -> Self:
        if self._given is not None:
            self.url = self._given.rstrip("/")
            self.cost: Cost = MetricsCost(self.url)
        else:
            server = self._start(self._command)
            self.url = server.url
            self.cost = ProcessCost(server.pid)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def via_network(self, network: NetworkConditions, seed: int = 0) -> str:
        """Give the address of the server behind this network."""
        if network == NetworkConditions():
            return self.url
        key = str(network), seed
        if key not in self._networks:
            command = [sys.executable, "-m", "realtime", "proxy", "--target", self.url]
            command += ["--port", "0", "--network", str(network), "--seed", str(seed)]
            self._networks[key] = self._start(command).url
        return self._networks[key]

    def describe(self) -> dict[str, str]:
        """Tell which server this is."""
        try:
            with urlopen(f"{self.url}/healthz", timeout=10) as answer:
                health = answer.read()
        except (URLError, OSError) as error:
            raise TestbedError(f"{self.url} cannot be reached: {error}") from error
        try:
            told: dict[str, str] = json.loads(health)
            return {"hub": told["hub"], "version": told["version"]}
        except (ValueError, LookupError, TypeError) as error:
            raise TestbedError(f"{self.url} is no server of this kind: see /healthz") from error

    def _start(self, command: list[str]) -> MeasuredProcess:
        process = MeasuredProcess(command)
        self._stack.callback(process.close)
        return process


class ClusterUnderTest:
    """Workers behind nginx, which finds one by `routing`; a context manager that ends them."""

    def __init__(self, hub: str, workers: int, routing: str) -> None:
        self._command = [
            *(sys.executable, "-m", "realtime", "cluster", "--hub", hub, "--routing", routing),
            *("--workers", str(workers), "--base-port", "0", "--status-port", "0", "--nginx", "0"),
            *("--messages-per-second", "0", "--connections-per-address", "20000"),
        ]

    def __enter__(self) -> Self:
        self._popen = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
        assert self._popen.stdout is not None
        said = []
        while line := self._popen.stdout.readline():
            said.append(re.findall(r"http://[^\s;,/]+", line))
            if " are ready" in line:
                _, self.workers, (self.url, *_), *_ = said
                return self
        _, why = self._popen.communicate()
        raise TestbedError(f"no cluster: {why.strip() or 'it did not begin'}")

    def __exit__(self, *error: object) -> None:
        self._popen.send_signal(2)
        self._popen.communicate(timeout=20)
