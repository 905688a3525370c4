"""nchan (nchan.conf), by WebSocket, EventSource and long polling."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.clients.base import Step
from benchmarks.clients.http import Head, Response, Server
from benchmarks.clients.protocols import (
    Decoder,
    Listener,
    Poll,
    Stream,
    WebSocketListener,
    read_json,
)
from benchmarks.clients.sse import EventStream
from benchmarks.competitors.system import (
    FOLDER,
    PACED,
    SMALL,
    START_SECONDS,
    System,
    await_port,
    children,
    end,
    free_port,
    own,
)
from benchmarks.method.testbed import ProcessCost, TestbedError

NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


class Nchan(System):
    """One nginx worker, which is one process, as all the others are."""

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("nginx") is None or not NCHAN_MODULE.exists():
            return "nginx with nchan; on Debian: apt-get install nginx libnginx-mod-nchan"
        return None

    def start(self, stack: ExitStack, redis: str) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nchan-")))
        port = free_port()
        text = (FOLDER / "nchan.conf").read_text()
        words = {"MODULE": NCHAN_MODULE, "FOLDER": folder, "REDIS": redis, "PORT": port}
        for word, value in words.items():
            text = text.replace(word, str(value))
        (folder / "nginx.conf").write_text(text)
        command = ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]
        command += ["-e", str(folder / "error.log")]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        stack.callback(end, process)
        self.url = f"http://127.0.0.1:{port}"
        await_port(port, process)
        self._await_redis()
        self.cost = ProcessCost(*children(process.pid))

    def _await_redis(self) -> None:
        """Return when it takes messages: it listens before it has found its Redis."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(URLError):
                urlopen(f"{self.url}/say?room=warm-up", b"{}", timeout=5).close()
                return
            time.sleep(0.02)
        raise TestbedError("nchan does not reach its Redis")

    def address(self, room: str) -> str:
        return f"/hear?room={room}"


class NchanWebSocket(Nchan):
    name = "nchan websocket"
    loads = (*System.loads, SMALL)

    def listener(self, room: str) -> Listener:
        return _WebSocket(self.readers, lambda cursor: self.address(room))


class _WebSocket(WebSocketListener):
    def understand(self, payload: bytes, when: float) -> None:
        self.hear([own(read_json(payload))], when)


class NchanEventSource(Nchan):
    name = "nchan eventsource"

    def listener(self, room: str) -> Listener:
        return _EventSource(self.readers, lambda cursor: self.address(room), _decoder)


class _EventSource(Stream):
    def question(self) -> bytes:
        super().question()
        accept = {"Accept": "text/event-stream"}
        return self.get(self._path(None), accept)


def _decoder(head: Head) -> Decoder:
    stream = EventStream()

    def decode(data: bytes) -> Iterator[Step]:
        for message in stream.feed(data):
            if message.data:
                yield own(read_json(message.data))

    return decode


class NchanLongPolling(Nchan):
    """An answer is one message, however many have come: a burst would be as many answers."""

    name = "nchan longpoll"
    loads = (PACED,)

    def listener(self, room: str) -> Listener:
        return _LongPolling(self.readers, self.address(room))


class _LongPolling(Poll):
    """Where it stands is told in Last-Modified and Etag, and asked for in the fields they match."""

    def __init__(self, server: Server, path: str) -> None:
        super().__init__(server)
        self._path = path
        self._place: dict[str, str] = {}
        # The first question waits already, so there is no answer to be ready by.
        self.ready = True

    def question(self) -> bytes:
        return self.get(self._path, self._place)

    def _answered(self, response: Response, when: float) -> bool:
        fields = response.head.fields
        self._place = {
            "If-Modified-Since": fields["last-modified"],
            "If-None-Match": fields["etag"],
        }
        self.hear([own(read_json(response.body))], when)
        return True
