"""The server under test, network conditions before it, and the CPU and memory it uses.

Server, network proxy and load generator are separate processes.  The benchmark starts the server,
with its own hub and without rate limits, or uses a running one by its URL.
"""

import asyncio
import json
import math
import re
import resource
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.error import URLError
from urllib.request import urlopen

from realtime.brokers.redis.process import RedisProcess, RedisStartError, find_program
from realtime.client.webtransport import SessionOffer
from realtime.limits import Limits
from realtime.netem.conditions import NetworkConditions
from realtime.tasks import die_with_parent

# The address in the first line that a process prints.
_FIRST_LINE = re.compile(r"(https?://\S+?)/? ")


class TestbedError(Exception):
    """The system to measure is not available; the message says why."""


class Cost(Protocol):
    """The CPU time that a server has used so far, and the memory it holds now."""

    def cpu_seconds(self) -> float: ...
    def memory_bytes(self) -> float: ...


class ProcessCost:
    """CPU and memory of processes on this machine, from the kernel; CPU time to the nanosecond.

    Memory means anonymous pages, which the process has written itself.  Pages of programs and
    libraries do not count: other processes share them, so their number changes independently.
    """

    def __init__(self, *pids: int) -> None:
        self._pids = pids

    def cpu_seconds(self) -> float:
        # Documentation/scheduler/sched-stats.rst: the first number is nanoseconds on a CPU.
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
    """CPU and memory of a server on any machine, from its `/metrics`; CPU time to 10 ms."""

    def __init__(self, url: str) -> None:
        self._url = url

    def cpu_seconds(self) -> float:
        return self._read("process_cpu_seconds_total")

    def memory_bytes(self) -> float:
        return self._read("process_resident_memory_bytes")

    def _read(self, name: str) -> float:
        with urlopen(f"{self._url}/metrics", timeout=10) as response:
            text = response.read().decode()
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        if found is None:
            raise TestbedError(f"{self._url}/metrics has no {name}")
        return float(found[1])


def max_open_files() -> float:
    """Return how many open files a process may have, if it asks for all of them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if hard == resource.RLIM_INFINITY else hard


def raise_open_file_limit(count: int) -> None:
    """Allow this process `count` open files, most of which are sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise TestbedError(
            f"this needs {count} open files, and only {hard} are allowed (ulimit -Hn): "
            "use fewer followers"
        )
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def start_shared_hub(hub: str, stack: ExitStack) -> tuple[str, str]:
    """Return the URL and name of a hub that several processes share; start one unless given."""
    if hub not in ("auto", "spawn"):
        return hub, hub
    program = find_program()
    if program is None:
        raise TestbedError(
            "several server processes need Redis: install redis-server or valkey-server"
        )
    try:
        server = asyncio.run(RedisProcess.start(program, 2 * Limits().history_bytes))
    except RedisStartError as error:
        raise TestbedError(str(error)) from error
    stack.callback(server.close)
    return server.url, f"{program.name.removesuffix('-server')}, shared"


class MeasuredProcess:
    """A program that prints its address in its first line and stops on SIGINT."""

    def __init__(self, command: list[str]) -> None:
        self._popen = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Otherwise it would continue to run after a `kill -9` of this process.
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        found = _FIRST_LINE.search(line + " ")
        if found is None:
            self.close()
            raise TestbedError(f"{' '.join(command)} did not start")
        self.url = found[1]
        self.pid = self._popen.pid

    def close(self) -> None:
        # SIGINT stops at once; SIGTERM would drain the connections first.
        self._popen.send_signal(2)
        try:
            self._popen.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.communicate()


class ServerUnderTest:
    """The server to measure; a context manager that stops the processes it started."""

    def __init__(self, url: str | None = None, hub: str = "auto", *options: str) -> None:
        self._given = url
        self._command = [
            *(sys.executable, "-m", "realtime", "--port", "0", "--hub", hub),
            *("--messages-per-second", "0", "--connections-per-address", "20000"),
            *("--address-share", "1000000", *options),  # all clients have one address
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
        """Return the address of a proxy to the server that simulates this network."""
        if network == NetworkConditions():
            return self.url
        key = str(network), seed
        if key not in self._networks:
            command = [sys.executable, "-m", "realtime", "proxy", "--target", self.url]
            command += ["--port", "0", "--network", str(network), "--seed", str(seed)]
            if (offer := self.webtransport()) is not None:
                command += ["--udp", str(offer.port)]
            self._networks[key] = self._start(command).url
        return self._networks[key]

    def describe(self) -> dict[str, str]:
        """Return hub and version of the server, from `/healthz`."""
        health = self._get("/healthz")
        try:
            return {"hub": health["hub"], "version": health["version"]}
        except LookupError as error:
            raise TestbedError(f"{self.url} is not a realtime server: see its /healthz") from error

    def _get(self, path: str) -> dict[str, Any]:
        """Return a JSON object of the server."""
        try:
            with urlopen(self.url + path, timeout=10) as response:
                body = response.read()
        except (URLError, OSError) as error:
            raise TestbedError(f"{self.url} cannot be reached: {error}") from error
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise TestbedError(f"{self.url} is not a realtime server: see its {path}")
        return found

    def webtransport(self) -> SessionOffer | None:
        """Return the UDP port and the certificates of the server; None without WebTransport."""
        offer = self._get("/lab").get("webtransport")
        try:
            return SessionOffer(int(offer["port"]), list(offer["hashes"]))  # type: ignore[index]
        except (LookupError, TypeError, ValueError):  # it has a reason, or an older version
            return None

    def _start(self, command: list[str]) -> MeasuredProcess:
        process = MeasuredProcess(command)
        self._stack.callback(process.close)
        return process


class ClusterUnderTest:
    """Workers behind nginx, which selects one by `routing`; a context manager that stops them."""

    def __init__(self, hub: str, workers: int, routing: str) -> None:
        self._command = [
            *(sys.executable, "-m", "realtime", "cluster", "--hub", hub, "--routing", routing),
            *("--workers", str(workers), "--base-port", "0", "--status-port", "0", "--nginx", "0"),
            *("--messages-per-second", "0", "--connections-per-address", "20000"),
            *("--address-share", "1000000"),
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
        addresses = []
        while line := self._popen.stdout.readline():
            addresses.append(re.findall(r"http://[^\s;,/]+", line))
            if " are ready" in line:
                _, self.workers, (self.url, *_), *_ = addresses
                return self
        _, reason = self._popen.communicate()
        raise TestbedError(f"no cluster: {reason.strip() or 'it did not start'}")

    def __exit__(self, *error: object) -> None:
        self._popen.send_signal(2)
        self._popen.communicate(timeout=20)
