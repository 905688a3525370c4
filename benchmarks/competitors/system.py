"""What a system must say of itself to be compared: how it is started, told something, listened to.

All of them that can share one Redis, and what is said is the same JSON everywhere.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar

from benchmarks.clients.base import Event, Step
from benchmarks.clients.http import Response, Server, encode
from benchmarks.clients.protocols import Listener
from benchmarks.load.generator import Words
from benchmarks.method.testbed import MeasuredProcess, ProcessCost, TestbedError
from realtime.brokers.redis.process import find_program

# Each file here that is not Python is the server of a peer, as its own documentation would have it.
FOLDER = Path(__file__).parent
# What they are asked: forty messages a second, a burst, forty to few readers, and nothing at all.
PACED, BURST, SMALL, IDLE = "paced", "burst", "small", "idle"
# The generator has a core of its own where there are two.  Else the scheduler now and then puts it
# beside the server, which finds more messages waiting when its turn comes, and each of them costs
# it less: a lottery between runs.
_CORES = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
SERVER_CORES, GENERATOR_CORES = (_CORES[:-1], _CORES[-1:]) if len(_CORES) > 1 else ([], [])
# A server is there within this time, even on a busy machine.
START_SECONDS = 10.0


class System(ABC):
    """One way to listen to one system, and what it is asked.

    `url` and `cost` are known once it has started; readers are at `behind`, if that is set.
    """

    name: ClassVar[str]
    loads: ClassVar[tuple[str, ...]] = (PACED, BURST)
    url: str
    behind: str | None = None
    cost: ProcessCost

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Say what this machine lacks for it, and how to get it."""

    @abstractmethod
    def start(self, stack: ExitStack, redis: str) -> None: ...

    @abstractmethod
    def listener(self, room: str) -> Listener: ...

    @property
    def readers(self) -> Server:
        """Where readers connect."""
        return Server(self.behind or self.url)

    def words(self, room: str, size: int) -> Words:
        """Say a JSON object that carries its number, by POST to ``/say?room=``."""
        server = Server(self.url)
        filling = "x" * size

        def request(id: str, number: int) -> bytes:
            event = {"kind": "say", "cursor": f"peer-{number}", "id": id, "text": filling}
            return server.request("POST", f"/say?room={room}", {}, encode(event))

        def receipt(response: Response, id: str, number: int) -> str:
            if not 200 <= response.status < 300:
                raise TestbedError(f"{self.name} answered {response.status}")
            return f"peer-{number}"

        return Words(server, request, receipt)

    def run(self, stack: ExitStack, command: list[str]) -> None:
        process = MeasuredProcess(command)
        stack.callback(process.close)
        self.url, self.cost = process.url, ProcessCost(process.pid)


def own(event: Event) -> Step:
    """A peer has no cursor of ours: the number of the message stands in the message."""
    return event, event["cursor"]


# --- processes -----------------------------------------------------------------------------------


def start_redis(stack: ExitStack) -> str:
    """Start a Redis on a free port, since nchan knows no other address; give it."""
    program = find_program()
    if program is None:
        raise TestbedError("no redis-server and no valkey-server; the peers share one")
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-"))
    port = free_port()
    command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
    process = subprocess.Popen(
        [*command, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL
    )
    stack.callback(end, process)
    await_port(port, process)
    return f"redis://127.0.0.1:{port}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TestbedError(f"{process.args!r} does not listen")


def end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    """The worker, which does the work, and not the master, which watches it."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


@contextmanager
def on(cores: Sequence[int]) -> Iterator[None]:
    """Run on these cores, and let run there whatever is started meanwhile."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
