"""How ``realtime capture`` records: readers of a room, and the tap of the server that copies them.

Apart from the command line, whose options every command reads: a server needs no client, and a
start without these imports takes a tenth less CPU time.
"""

import argparse
import asyncio
import base64
import json
import math
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from typing import Any, BinaryIO

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from realtime.cli.config import CommandError
from realtime.client import ALL_CLIENTS, CLIENTS, BadResponse, Closed, Refused, request
from realtime.client.http import expecting
from realtime.protocol.pcapng import PcapngWriter
from realtime.tasks import cancel_and_wait

# The pause between two short polls, as on the pages.
_POLL_SECONDS = 1.0
# How long we wait until the server reports the end of our connections, which belongs into the file.
_CLOSE_SECONDS = 2.0
# The tap does not report the end of these: a client may end its side, and wait for the response.
_POLLS = ("short_polling", "long_polling")


async def record(options: argparse.Namespace, output: BinaryIO, stop: asyncio.Event) -> None:
    """Write a capture file, for `options.seconds` or until `stop`; raises `CommandError`."""
    if not 0 < options.seconds < math.inf:  # this also refuses NaN
        raise CommandError("--seconds must be above 0, and finite")
    try:
        await _record(_Room(options.url, options.room, options.ticket), options, output, stop)
    except Refused as error:
        raise CommandError(f"{options.url}: {error.code}: {error.message}") from error
    except HTTPClientError as error:
        raise CommandError(f"{options.url}: {_complaint(error)}") from error
    except Closed as error:
        why = f": {error.reason}" if error.reason else ""
        raise CommandError(f"{options.url}: the server has closed a connection{why}") from error
    except (BadResponse, ImportError, OSError, ValueError) as error:  # ValueError: a bad address
        raise CommandError(f"{options.url}: {error}") from error


async def _record(
    room: "_Room", options: argparse.Namespace, output: BinaryIO, stop: asyncio.Event
) -> None:
    transports = options.transport or await room.transports()
    recording = _Recording(room.secret, output)
    async with room.tap() as tap:
        copying = asyncio.create_task(recording.copy(tap))
        readers = [asyncio.create_task(room.read(name)) for name in transports]
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
    if unseen := [name for name in transports if name not in recording.transports]:
        raise CommandError(
            f"nothing was recorded of {', '.join(unseen)}: record for longer; if several workers "
            "serve this address, each sees its own connections, so give the address of one worker"
        )


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

    async def copy(self, tap: AsyncIterator[str]) -> None:
        """Copy until cancelled; raises `CommandError` if the tap ends before."""
        self._write(self._writer.start())
        async for message in tap:
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
        """Return the data without our secret: anyone who knows it can record us."""
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


class _Room:
    """A room of a server, and how to read it; `secret` is in each request."""

    def __init__(self, url: str, name: str, ticket: str | None) -> None:
        self._url = url.rstrip("/")
        self._name = name
        self._headers = {} if ticket is None else {"Authorization": f"Bearer {ticket}"}
        self.secret = secrets.token_hex(16)
        if not re.match(r"https?://[^/]", url):
            raise CommandError(
                f"{url} is not the address of a server; write one like http://127.0.0.1:8000"
            )

    async def transports(self) -> list[str]:
        """Return those that the server has, and that we can use."""
        response = await request(self._url, "GET", "/lab", headers=self._headers)
        with expecting("the description of a server"):
            offers_udp = "port" in response.check(200).json()["webtransport"]
        return list(ALL_CLIENTS if offers_udp and find_spec("aioquic") else CLIENTS)

    async def read(self, transport: str) -> None:
        """Read the room until cancelled; raises `Closed` if the server ends it before."""
        options: dict[str, Any] = (
            {"interval": _POLL_SECONDS} if transport == "short_polling" else {}
        )
        make = ALL_CLIENTS[transport]
        client = make(self._url, self._name, headers=self._headers, trace=self.secret, **options)
        try:
            async with client:
                while True:
                    await client.receive()
        except TimeoutError as error:  # such as WebTransport where the network blocks UDP
            raise CommandError(
                f"no response by {transport}: leave it out of --transport"
            ) from error

    @asynccontextmanager
    async def tap(self) -> AsyncIterator[AsyncIterator[str]]:
        """Open the traffic capture of our connections; raises HTTPClientError."""
        received: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        closed = asyncio.Event()

        def on_message(message: str | bytes | None) -> None:
            received.put_nowait(message)
            if message is None:
                closed.set()

        url = f"{self._url.replace('http', 'ws', 1)}/wire/{self.secret}"
        connection = await websocket_connect(
            HTTPRequest(url, headers=self._headers), on_message_callback=on_message
        )
        try:
            yield _texts(received)
        finally:
            connection.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(closed.wait(), _CLOSE_SECONDS)


async def _texts(received: "asyncio.Queue[str | bytes | None]") -> AsyncIterator[str]:
    while (message := await received.get()) is not None:
        if isinstance(message, str):
            yield message


def _complaint(error: HTTPClientError) -> str:
    """Return what the server says about a request that it refuses."""
    try:
        details = json.loads(error.response.body)["error"] if error.response else {}
        return f"{details['code']}: {details['message']}"
    except (ValueError, LookupError, TypeError):
        return f"HTTP {error.code}"
