"""The systems to be compared: how each is started, how it is told something, how it is listened to.

Each file beside this one is the server of a peer, as its own documentation would have it.  All of
them that can share one Redis, and what is said is the same JSON everywhere.
"""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import ClassVar
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.clients.base import Event, Step
from benchmarks.clients.http import Head, Response, Server, encode
from benchmarks.clients.sse import EventStream
from benchmarks.clients.websocket import TEXT
from benchmarks.crowd import Words, our_words
from benchmarks.listeners import Decoder, Listener, Poll, Stream, WebSocketListener, listener
from benchmarks.stand import Process, ProcessCost, StandError
from realtime.spawn import find_program

FOLDER = Path(__file__).parent
NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
# A server is there within this time, even on a busy machine.
_START_SECONDS = 10.0


class System(ABC):
    """One way to listen to one system.

    `url` and `cost` are known once it has started; readers are at `behind`, if that is set.
    """

    name: ClassVar[str]
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
                raise StandError(f"{self.name} answered {response.status}")
            return f"peer-{number}"

        return Words(server, request, receipt)

    def run(self, stack: ExitStack, command: list[str]) -> None:
        process = Process(command)
        stack.callback(process.close)
        self.url, self.cost = process.url, ProcessCost(process.pid)


def own(event: Event) -> Step:
    """A peer has no cursor of ours: the number of the message stands in the message."""
    return event, event["cursor"]


# --- ours ----------------------------------------------------------------------------------------


class Ours(System):
    transport: ClassVar[str]

    @classmethod
    def missing(cls) -> str | None:
        return None

    def start(self, stack: ExitStack, redis: str) -> None:
        command = [sys.executable, "-m", "realtime", "--port", "0", "--hub", redis]
        limits = ["--messages-per-second", "0", "--connections-per-address", "20000"]
        self.run(stack, command + limits)

    def listener(self, room: str) -> Listener:
        return listener(self.transport, self.readers, room)

    def words(self, room: str, size: int) -> Words:
        return our_words(self.url, room, size)


class OurWebSocket(Ours):
    name = "realtime websocket"
    transport = "websocket"


class OurEventSource(Ours):
    name = "realtime sse"
    transport = "sse"


class OurLongPolling(Ours):
    name = "realtime long_polling"
    transport = "long_polling"


# --- Socket.IO -----------------------------------------------------------------------------------


class SocketIO(System):
    """Socket.IO 4, its WebSocket from the start: what its polling is upgraded to."""

    name = "socket.io websocket"

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("node") is None:
            return "node; on Debian: apt-get install nodejs npm"
        if not (FOLDER / "node_modules" / "socket.io").exists():
            return f"npm's packages; npm ci --prefix {FOLDER}"
        return None

    def start(self, stack: ExitStack, redis: str) -> None:
        self.run(stack, ["node", str(FOLDER / "socketio.js"), redis])

    def listener(self, room: str) -> Listener:
        return _SocketIOListener(self.readers, room)


class _SocketIOListener(WebSocketListener):
    """Engine.IO 4 packets begin with a digit, and Socket.IO 5 packets inside of them with another.

    Engine.IO: 0 open, 2 ping, 3 pong, 4 message; Socket.IO: 0 connect, 2 event, 3 acknowledgement.
    """

    def __init__(self, server: Server, room: str) -> None:
        super().__init__(server, lambda cursor: "/socket.io/?EIO=4&transport=websocket")
        self._room = room

    def opened(self) -> None:
        pass  # there is more to say before anything is heard

    def understand(self, payload: bytes, when: float) -> None:
        if payload.startswith(b"42"):
            _, event = json.loads(payload[2:])
            self.hear([own(event)], when)
        elif payload.startswith(b"40"):
            self.answer(TEXT, b"421" + encode(["join", self._room]))
        elif payload.startswith(b"431"):
            self.ready = True
        elif payload.startswith(b"0"):
            self.answer(TEXT, b"40")
        elif payload == b"2":
            self.answer(TEXT, b"3")


# --- nchan ---------------------------------------------------------------------------------------


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
        stack.callback(_end, process)
        self.url = f"http://127.0.0.1:{port}"
        _await_port(port, process)
        self._await_redis()
        self.cost = ProcessCost(*_children(process.pid))

    def _await_redis(self) -> None:
        """Return when it takes messages: it listens before it has found its Redis."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with suppress(URLError):
                urlopen(f"{self.url}/say?room=warm-up", b"{}", timeout=5).close()
                return
            time.sleep(0.02)
        raise StandError("nchan does not reach its Redis")

    def address(self, room: str) -> str:
        return f"/hear?room={room}"


class NchanWebSocket(Nchan):
    name = "nchan websocket"

    def listener(self, room: str) -> Listener:
        return _NchanWebSocketListener(self.readers, lambda cursor: self.address(room))


class _NchanWebSocketListener(WebSocketListener):
    def understand(self, payload: bytes, when: float) -> None:
        self.hear([own(json.loads(payload))], when)


class NchanEventSource(Nchan):
    name = "nchan eventsource"

    def listener(self, room: str) -> Listener:
        return _NchanEventSourceListener(self.readers, lambda cursor: self.address(room), _decoder)


class _NchanEventSourceListener(Stream):
    def question(self) -> bytes:
        super().question()
        accept = {"Accept": "text/event-stream"}
        return self.get(self._path(None), accept)


def _decoder(head: Head) -> Decoder:
    stream = EventStream()

    def decode(data: bytes) -> Iterator[Step]:
        for message in stream.feed(data):
            if message.data:
                yield own(json.loads(message.data))

    return decode


class NchanLongPolling(Nchan):
    name = "nchan longpoll"

    def listener(self, room: str) -> Listener:
        return _NchanPoll(self.readers, self.address(room))


class _NchanPoll(Poll):
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
        self.hear([own(response.json())], when)
        return True


# --- Tornado, as it comes ------------------------------------------------------------------------


class Tornado(System):
    @classmethod
    def missing(cls) -> str | None:
        return None

    def start(self, stack: ExitStack, redis: str) -> None:
        self.run(stack, [sys.executable, "-m", "benchmarks.peers.tornado_chat"])


class TornadoWebSocket(Tornado):
    name = "tornado write_message"

    def listener(self, room: str) -> Listener:
        return WebSocketListener(self.readers, lambda cursor: f"/listen?room={room}")


class TornadoPolling(Tornado):
    name = "tornado long polling"

    def listener(self, room: str) -> Listener:
        return _TornadoPoll(self.readers, room)


class _TornadoPoll(Poll):
    def __init__(self, server: Server, room: str) -> None:
        super().__init__(server)
        self._room = room
        self._after = ""

    def question(self) -> bytes:
        return self.get(f"/poll?room={self._room}{self._after}")

    def _answered(self, response: Response, when: float) -> bool:
        answer = response.check(200).json()
        self.hear(map(own, answer["messages"]), when)
        self._after = f"&after={answer['after']}"
        return True


SYSTEMS: dict[str, Callable[[], System]] = {
    system.name: system
    for system in (
        OurWebSocket,
        OurEventSource,
        OurLongPolling,
        SocketIO,
        NchanWebSocket,
        NchanEventSource,
        NchanLongPolling,
        TornadoWebSocket,
        TornadoPolling,
    )
}


# --- processes -----------------------------------------------------------------------------------


def start_redis(stack: ExitStack) -> str:
    """Start a Redis on a free port, since nchan knows no other address; give it."""
    program = find_program()
    if program is None:
        raise StandError("no redis-server and no valkey-server; the peers share one")
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-"))
    port = free_port()
    command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
    process = subprocess.Popen(
        [*command, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL
    )
    stack.callback(_end, process)
    _await_port(port, process)
    return f"redis://127.0.0.1:{port}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise StandError(f"{process.args!r} does not listen")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _children(pid: int) -> list[int]:
    """The worker, which does the work, and not the master, which watches it."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]
