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

from benchmarks.competitors.system import (
    FOLDER,
    SMALL,
    START_SECONDS,
    System,
    await_port,
    children,
    free_port,
    terminate,
)
from benchmarks.method.testbed import ProcessCost, TestbedError
from realtime.client.http import Endpoint, Response, ResponseHead
from realtime.client.protocols import cached_loads
from realtime.client.sansio import (
    ClientProtocol,
    Decoder,
    Loads,
    PollProtocol,
    StreamProtocol,
    Update,
    with_cursor,
)
from realtime.client.sse import EventStreamParser
from realtime.client.websocket import WebSocketProtocol

NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
# nginx's documentation recommends a session cache; TLS 1.3 is the default from nginx 1.23.4 on.
_TLS = (
    "ssl_certificate PEM; ssl_certificate_key PEM; ssl_protocols TLSv1.2 TLSv1.3; "
    "ssl_session_cache shared:tls:10m;"
)
_NO_TLS = {"SECURED ": "", "CERTIFICATE": ""}


class Nchan(System):
    """One nginx worker process: one process, like all the others."""

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("nginx") is None or not NCHAN_MODULE.exists():
            return "nginx with nchan; on Debian: apt-get install nginx libnginx-mod-nchan"
        return None

    def start(self, stack: ExitStack, redis: str) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nchan-")))
        port = free_port()
        text = (FOLDER / "nchan.conf").read_text()
        values = {"MODULE": NCHAN_MODULE, "FOLDER": folder, "REDIS": redis, "PORT": port}
        values |= {"SECURED": "ssl", "CERTIFICATE": _TLS} if self.certificate else _NO_TLS
        values |= {"PEM": self.certificate}
        for name, value in values.items():
            text = text.replace(name, str(value))
        (folder / "nginx.conf").write_text(text)
        command = ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]
        command += ["-e", str(folder / "error.log")]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        stack.callback(terminate, process)
        self.url = f"{'https' if self.certificate else 'http'}://127.0.0.1:{port}"
        await_port(port, process)
        self._await_redis()
        self.cost = ProcessCost(*children(process.pid))

    def _await_redis(self) -> None:
        """Return when it accepts messages: it listens before it has connected to its Redis."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(URLError, TimeoutError):
                urlopen(f"{self.url}/say?room=warm-up", b"{}", timeout=5).close()
                return
            time.sleep(0.02)
        raise TestbedError("nchan cannot reach its Redis")

    def address(self, room: str) -> str:
        return f"/hear?room={room}"


class NchanWebSocket(Nchan):
    name = "nchan websocket"
    loads = (*System.loads, SMALL)

    def protocol(self, room: str) -> ClientProtocol:
        path = self.address(room)
        return WebSocketProtocol(self.reader_endpoint, lambda cursor: path, loads=cached_loads)


class NchanEventSource(Nchan):
    name = "nchan eventsource"

    def protocol(self, room: str) -> ClientProtocol:
        path, accept = self.address(room), {"Accept": "text/event-stream"}
        return StreamProtocol(
            self.reader_endpoint, lambda cursor: path, _decoder, headers=accept, loads=cached_loads
        )


def _decoder(head: ResponseHead, loads: Loads) -> Decoder:
    parser = EventStreamParser()

    def decode(data: bytes) -> Iterator[Update]:
        for message in parser.feed(data):
            if message.data:
                yield with_cursor(loads(message.data))

    return decode


class NchanLongPolling(Nchan):
    """Each response is one message, however many are waiting: a burst is as many responses."""

    name = "nchan longpoll"

    def protocol(self, room: str) -> ClientProtocol:
        return _LongPollProtocol(self.reader_endpoint, self.address(room))


class _LongPollProtocol(PollProtocol):
    """The position is in Last-Modified and Etag, and is sent back in the matching fields."""

    def __init__(self, endpoint: Endpoint, path: str) -> None:
        super().__init__(endpoint)
        self._path = path
        self._position: dict[str, str] = {}
        # The first request already waits for a message, so no response can make it ready.
        self.ready = True

    def request(self) -> bytes:
        return self.get(self._path, self._position)

    def parse_response(self, response: Response) -> tuple[list[Update], bool]:
        fields = response.head.fields
        self._position = {
            "If-Modified-Since": fields["last-modified"],
            "If-None-Match": fields["etag"],
        }
        return [with_cursor(cached_loads(response.body))], True
