"""What a system needs in order to be compared: how it starts, how to publish, and how to read.

All systems that can use a Redis share one, and all of them carry the same JSON.
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

from benchmarks.load.generator import RequestSpec
from benchmarks.method.testbed import MeasuredProcess, ProcessCost, TestbedError
from realtime.brokers.redis.process import find_program
from realtime.client.http import Endpoint, Response, encode
from realtime.client.sansio import ClientProtocol

# The other files in this folder are the servers of the other systems, as their documentation
# writes them.
FOLDER = Path(__file__).parent
# The loads: forty messages a second, a burst, forty a second to few readers, and no messages.
PACED, BURST, SMALL, IDLE = "paced", "burst", "small", "idle"
# With two cores or more, the generator has its own.  Otherwise the scheduler sometimes puts it on
# the server's core; then the server finds more messages waiting each time it runs, and each message
# costs it less, so runs differ by chance.
_CORES = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
SERVER_CORES, GENERATOR_CORES = (_CORES[:-1], _CORES[-1:]) if len(_CORES) > 1 else ([], [])
# A server starts within this time, even on a busy machine.
START_SECONDS = 10.0


class System(ABC):
    """One transport of one system, and the loads that it is measured under.

    `url` and `cost` are set by `start`.  Readers connect to `reader_url` if it is set (a network in
    between), else to `url`.  With a `certificate`, a file that also has its key, `start` makes it
    https.
    """

    name: ClassVar[str]
    loads: ClassVar[tuple[str, ...]] = (PACED, BURST)
    url: str
    reader_url: str | None = None
    certificate: Path | None = None
    small_path: ClassVar[str] = "/nowhere"  # of a response that costs little
    cost: ProcessCost

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Return what this machine lacks for it, and how to get it."""

    @abstractmethod
    def start(self, stack: ExitStack, redis: str) -> None: ...

    @abstractmethod
    def protocol(self, room: str) -> ClientProtocol: ...

    @property
    def reader_endpoint(self) -> Endpoint:
        return Endpoint(self.reader_url or self.url)

    def request_spec(self, room: str, size: int) -> RequestSpec:
        """Publish a JSON object with its number as the cursor, by POST to ``/say?room=``."""
        endpoint = Endpoint(self.url)
        filling = "x" * size

        def build(id: str, number: int) -> bytes:
            event = {"kind": "say", "cursor": f"peer-{number}", "id": id, "text": filling}
            return endpoint.build_request("POST", f"/say?room={room}", {}, encode(event))

        def parse_cursor(response: Response, id: str, number: int) -> str:
            if not 200 <= response.status < 300:
                raise TestbedError(f"{self.name} answered {response.status}")
            return f"peer-{number}"

        return RequestSpec(endpoint, build, parse_cursor)

    def run(self, stack: ExitStack, command: list[str]) -> None:
        process = MeasuredProcess(command)
        stack.callback(process.close)
        self.url, self.cost = process.url, ProcessCost(process.pid)


# --- processes -----------------------------------------------------------------------------------


def start_redis(stack: ExitStack) -> str:
    """Start a Redis on a free TCP port, because nchan cannot use a Unix socket; return its URL."""
    program = find_program()
    if program is None:
        raise TestbedError("no redis-server or valkey-server found; the peers share one")
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-"))
    port = free_port()
    command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
    process = subprocess.Popen(
        [*command, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL
    )
    stack.callback(terminate, process)
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
    raise TestbedError(f"{process.args!r} does not listen on port {port}")


def terminate(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    """Return the pids of the workers, which do the work, without the master."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


@contextmanager
def pinned_to(cores: Sequence[int]) -> Iterator[None]:
    """Run on these cores, and every process that is started meanwhile."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
