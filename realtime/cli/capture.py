"""``realtime capture``: record how a room is read, as a capture file for Wireshark.

    realtime capture http://127.0.0.1:8000 --room lobby --seconds 10 > lesson.pcapng

The command reads the room itself, by each transport, and records these connections: the server
copies the bytes of requests with a secret to whoever knows it (see `server.tap`), and of nobody
else.  So the file has what was sent in the room, but no connection of another client.
"""

import argparse
import asyncio
import base64
import json
import math
import re
import secrets
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode, urlsplit

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClosedError, websocket_connect

from realtime.cli.config import CommandError
from realtime.protocol.pcapng import PcapngWriter
from realtime.tasks import cancel_and_wait

HELP = "record how a room is read by each transport, as a capture file for Wireshark"

_READ_BYTES = 65_536
# The pause between two short polls, and the longest wait of a long poll, as on the pages.
_POLL_SECONDS = 1.0
_WAIT_SECONDS = 25
# How long we wait until the server reports the end of our connections, which belongs into the file.
_CLOSE_SECONDS = 2.0
# The tap does not report the end of these: a client may end its side, and wait for the response.
_POLLS = ("short_polling", "long_polling")
_TICKET = re.compile(r"[!-~]+")
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.IGNORECASE)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "url", nargs="?", default="http://127.0.0.1:8000", help="the server (%(default)s)"
    )
    parser.add_argument("--room", default="lobby", help="the room (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="N", help="how long (%(default)s)"
    )
    parser.add_argument(
        "--transport",
        type=_transports,
        default=list(READERS),
        metavar="NAMES",
        help=f"some of {', '.join(READERS)}, separated by commas (all)",
    )
    parser.add_argument(
        "--ticket",
        type=_ticket,
        metavar="FILE",
        help="a file with a ticket to read the room, for a server with --access tickets",
    )


def _transports(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in READERS]:
        raise argparse.ArgumentTypeError(f"no transport: {', '.join(unknown)}")
    return names


def _ticket(path: str) -> str:
    # Not the ticket itself: every user of a machine sees the arguments of a process.
    try:
        text = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not _TICKET.fullmatch(text):  # it becomes a header
        raise argparse.ArgumentTypeError(f"there is no ticket in {path}")
    return text


async def run(options: argparse.Namespace) -> None:
    """Write the file to standard output; raises `CommandError`."""
    if sys.stdout.isatty():
        raise CommandError("capture writes a file: realtime capture > lesson.pcapng")
    stop = asyncio.Event()  # Ctrl-C ends the recording, and completes the file
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    await record(options, sys.stdout.buffer, stop)


async def record(options: argparse.Namespace, output: BinaryIO, stop: asyncio.Event) -> None:
    """Write a capture file, for `options.seconds` or until `stop`; raises `CommandError`."""
    if not 0 < options.seconds < math.inf:  # this also refuses NaN
        raise CommandError("--seconds must be above 0")
    room = _Room(options.url, options.room, options.ticket)
    try:
        await _record(room, options, output, stop)
    except HTTPClientError as error:
        body = error.response.body if error.response else b""
        raise CommandError(f"{options.url}: {_complaint(error.code, body)}") from error
    except asyncio.IncompleteReadError as error:
        raise CommandError(f"{options.url}: the server has closed a connection") from error
    except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host
        raise CommandError(f"{options.url}: {error}") from error


async def _record(
    room: "_Room", options: argparse.Namespace, output: BinaryIO, stop: asyncio.Event
) -> None:
    recording = _Recording(room.secret, output)
    async with room.websocket(f"/wire/{room.secret}") as tap:
        copying = asyncio.create_task(recording.copy(tap))
        readers = [asyncio.create_task(_read(room, name)) for name in options.transport]
        ends: list[asyncio.Future[Any]] = [
            copying,
            asyncio.gather(*readers),
            asyncio.create_task(stop.wait()),
        ]
        ended, _ = await asyncio.wait(
            ends, timeout=options.seconds, return_when=asyncio.FIRST_COMPLETED
        )
        await cancel_and_wait(readers)
        with suppress(TimeoutError):
            await asyncio.wait_for(recording.streams_closed.wait(), _CLOSE_SECONDS)
        await cancel_and_wait(ends)
        recording.close()
    for task in ended:
        await task  # raises its error
    if unseen := [name for name in options.transport if name not in recording.transports]:
        raise CommandError(
            f"nothing was recorded of {', '.join(unseen)}: record for longer; if several workers "
            "serve this address, each sees its own connections, so give the address of one worker"
        )


async def _read(room: "_Room", transport: str) -> None:
    """Read the room until cancelled; raises `CommandError` if the server ends it before."""
    await READERS[transport](room)
    raise CommandError("the server has closed a connection")


class _Recording:
    """Writes what a tap sends; `streams_closed` is set while it has no open stream."""

    def __init__(self, secret: str, output: BinaryIO) -> None:
        self._secret = secret.encode()
        self._output = output
        self._writer = PcapngWriter()
        self._open: dict[int, str] = {}  # the transports of open connections
        self._last_at = 0.0
        self.transports: set[str] = set()
        self.streams_closed = asyncio.Event()
        self.streams_closed.set()

    async def copy(self, tap: "_WebSocket") -> None:
        """Copy until cancelled; raises `CommandError` if the tap ends before."""
        self._write(self._writer.start())
        async for message in tap.messages():
            fields = json.loads(message)
            if "data" in fields:
                fields["data"] = self._hide(fields["data"])
            self._write(self._writer.encode(fields))
            self._count(fields)
        raise CommandError("the server has ended the capture")

    def close(self) -> None:
        """Write the end of each open connection: we have closed them all."""
        for number in self._open:
            end = {"connection": number, "at": self._last_at, "closed": True}
            self._write(self._writer.encode(end))

    def _write(self, data: bytes) -> None:
        try:
            self._output.write(data)
            self._output.flush()  # `realtime capture | wireshark -k -i -` shows it live
        except OSError as error:
            raise CommandError(f"the file: {error}") from error

    def _hide(self, data: str) -> bytes:
        """Return the data without our secret: whoever knows it can watch us."""
        plain = base64.b64decode(data)
        return base64.b64encode(plain.replace(self._secret, b"*" * len(self._secret)))

    def _count(self, fields: dict[str, Any]) -> None:
        self._last_at = fields.get("at", self._last_at)
        if fields.get("closed"):
            self._open.pop(fields["connection"], None)
        elif "connection" in fields:
            self._open[fields["connection"]] = fields["transport"]
            self.transports.add(fields["transport"])
        if set(self._open.values()) <= set(_POLLS):
            self.streams_closed.set()
        else:
            self.streams_closed.clear()


# --- connections ---------------------------------------------------------------------------------


class _Room:
    """A room of a server, and how to connect to it; `secret` is in each request."""

    def __init__(self, url: str, room: str, ticket: str | None) -> None:
        try:
            parts = urlsplit(url)
            self._host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise CommandError(f"{url}: {error}") from error
        if parts.scheme not in ("http", "https") or not self._host:
            raise CommandError(
                f"{url} is not the address of a server; write one like http://127.0.0.1:8000"
            )
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = port or (443 if self._tls else 80)
        self._authority, self._path = parts.netloc, parts.path.rstrip("/")
        self._fields = {} if ticket is None else {"Authorization": f"Bearer {ticket}"}
        self.name = room
        self.secret = secrets.token_hex(16)

    def path(self, transport: str, **query: str) -> str:
        """Return the address of the room by a transport of our own."""
        return f"/rooms/{quote(self.name, safe='')}/{transport}?{self.query(**query)}"

    def query(self, **fields: str) -> str:
        return urlencode({**fields, "trace": self.secret})

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["_Connection"]:
        """Open a connection for requests one after another."""
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        try:
            yield _Connection(reader, writer, self._request)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _request(self, path: str) -> bytes:
        fields = {"Host": self._authority, **self._fields}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"GET {self._path}{path} HTTP/1.1\r\n{lines}\r\n".encode()

    @asynccontextmanager
    async def websocket(self, path: str) -> AsyncIterator["_WebSocket"]:
        """Open a WebSocket; raises HTTPClientError."""
        scheme = "wss" if self._tls else "ws"
        url = f"{scheme}://{self._authority}{self._path}{path}"
        received: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        closed = asyncio.Event()

        def on_message(message: str | bytes | None) -> None:
            received.put_nowait(message)
            if message is None:
                closed.set()

        request = HTTPRequest(url, headers=self._fields)
        connection = await websocket_connect(request, on_message_callback=on_message)
        try:
            yield _WebSocket(received, connection.write_message)
        finally:
            connection.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(closed.wait(), _CLOSE_SECONDS)


class _Connection:
    """An HTTP/1.1 connection of a reader that knows what the server sends."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: Callable[[str], bytes],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._request = request

    async def get(self, path: str) -> int:
        """Send a request and read the head of its response; return the length of the body, or 0.

        Raises `CommandError` with the server's error.
        """
        self._writer.write(self._request(path))
        head = await self._reader.readuntil(b"\r\n\r\n")
        found = _LENGTH.search(head)
        length, status = int(found[1]) if found else 0, int(head[9:12])
        if status != 200:
            raise CommandError(_complaint(status, await self._reader.readexactly(length)))
        return length

    async def read(self, length: int) -> bytes:
        return await self._reader.readexactly(length)

    async def discard(self) -> None:
        """Read until the server ends the connection."""
        while await self._reader.read(_READ_BYTES):
            pass


class _WebSocket:
    """The messages of a WebSocket; `send` sends one."""

    def __init__(
        self,
        received: "asyncio.Queue[str | bytes | None]",
        write: Callable[[str], Awaitable[None]],
    ) -> None:
        self._received = received
        self._write = write

    async def messages(self) -> AsyncIterator[str]:
        """Yield each text message, until the connection ends."""
        while (message := await self._received.get()) is not None:
            if isinstance(message, str):
                yield message

    async def send(self, message: str) -> None:
        with suppress(WebSocketClosedError):  # `messages` ends next
            await self._write(message)


def _complaint(status: int, body: bytes) -> str:
    """Return what the server says about a request that it refuses."""
    try:
        error = json.loads(body)["error"]
        return f"{error['code']}: {error['message']}"
    except (ValueError, LookupError, TypeError):
        return f"HTTP {status}"


# --- readers: each runs until it is cancelled, or the server ends it -----------------------------


async def _poll(room: _Room, transport: str, pause: float, **query: str) -> None:
    async with room.connection() as connection:
        while True:
            length = await connection.get(room.path(transport, **query))
            query["after"] = json.loads(await connection.read(length))["cursor"]
            await asyncio.sleep(pause)


async def _stream(room: _Room, transport: str) -> None:
    async with room.connection() as connection:
        await connection.get(room.path(transport))
        await connection.discard()


async def _websocket(room: _Room) -> None:
    async with room.websocket(room.path("websocket")) as connection:
        async for _ in connection.messages():
            pass


async def _sockjs(room: _Room) -> None:
    path = f"/sockjs/000/{secrets.token_hex(8)}/websocket?{room.query()}"
    async with room.websocket(path) as connection:
        async for message in connection.messages():
            if message == "o":  # the session is open
                join = json.dumps({"kind": "join", "room": room.name})
                await connection.send(json.dumps([join]))


async def _socketio(room: _Room) -> None:
    # An empty client: without one, the server takes us for a client of the tutorial.
    query = room.query(EIO="4", transport="websocket", roomid=room.name, client="")
    async with room.websocket(f"/socket.io/?{query}") as connection:
        async for message in connection.messages():
            if message.startswith("0"):  # the session is open: connect to its namespace
                await connection.send("40")
            elif message == "2":  # a ping
                await connection.send("3")


READERS: dict[str, Callable[[_Room], Coroutine[Any, Any, None]]] = {
    "short_polling": partial(_poll, transport="short_polling", pause=_POLL_SECONDS),
    "long_polling": partial(_poll, transport="long_polling", pause=0, wait=str(_WAIT_SECONDS)),
    "iframe_streaming": partial(_stream, transport="iframe_streaming"),
    "sse": partial(_stream, transport="sse"),
    "fetch_streaming": partial(_stream, transport="fetch_streaming"),
    "websocket": _websocket,
    "sockjs": _sockjs,
    "socketio": _socketio,
}
