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
import ssl
import sys
import uuid
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, AsyncIterator, BinaryIO
from urllib.parse import quote, urlencode, urlsplit

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from realtime.cli.config import CommandError
from realtime.protocol.pcapng import PcapngWriter
from realtime.tasks import cancel_and_wait

HELP = "record how a room is read by each transport, as a capture file for Wireshark"

_READ_BYTES = 65_536
# The pause of a short poll, and the longest wait of a long poll, as on the pages.
_POLL_SECONDS = 1
_WAIT_SECONDS = 25
# How long we wait for the end of our connections, so that the file has it.
_CLOSE_SECONDS = 2
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
        "--ticket", help="a ticket that allows to read the room, with --access tickets"
    )


async def run(options: argparse.Namespace) -> None:
    """Write the file to standard output; raises `CommandError`."""
    if sys.stdout.isatty():
        raise CommandError("capture: write to a file: realtime capture > lesson.pcapng")
    await record(options, sys.stdout.buffer)


async def record(options: argparse.Namespace, output: BinaryIO) -> None:
    """Write a capture file for `options.seconds`; raises `CommandError`."""
    if not 0 < options.seconds < math.inf:  # this also refuses NaN
        raise CommandError("--seconds must be above 0")
    server = _Server(options.url, options.room, options.ticket)
    async with server.websocket(f"/wire/{server.secret}") as tap:
        recording = _Recording(tap, server.secret, output)
        copying = asyncio.create_task(recording.copy())
        reading = [asyncio.create_task(READERS[name](server, name)) for name in options.transport]
        done, _ = await asyncio.wait(
            {copying, *reading}, timeout=options.seconds, return_when=asyncio.FIRST_EXCEPTION
        )
        await cancel_and_wait(*reading)
        with suppress(TimeoutError):
            await asyncio.wait_for(recording.all_closed.wait(), _CLOSE_SECONDS)
        await cancel_and_wait(copying)
    for task in done:
        if error := task.exception():
            raise error


class _Recording:
    """Writes what a tap sends; `all_closed` is set while none of the connections is open."""

    def __init__(
        self, tap: "_Messages", secret: str, output: BinaryIO, writer: PcapngWriter | None = None
    ) -> None:
        self._tap = tap
        self._secret = secret.encode()
        self._output = output
        self._writer = writer or PcapngWriter()
        self._open: set[int] = set()
        self.all_closed = asyncio.Event()

    async def copy(self) -> None:
        """Copy until cancelled; raises `CommandError` if the server ends the tap."""
        self._output.write(self._writer.start())
        while (message := await self._tap.receive()) is not None:
            record = json.loads(message)
            if "data" in record:
                record["data"] = self._hide(record["data"])
            self._output.write(self._writer.encode(record))
            self._count(record)
        raise CommandError("the server has ended the capture")

    def _hide(self, data: str) -> bytes:
        """Return the data without our secret: whoever has it could watch us."""
        plain = base64.b64decode(data)
        return base64.b64encode(plain.replace(self._secret, b"*" * len(self._secret)))

    def _count(self, record: dict[str, Any]) -> None:
        if record.get("closed"):
            self._open.discard(record["connection"])
        elif "connection" in record:
            self._open.add(record["connection"])
        if self._open:
            self.all_closed.clear()
        else:
            self.all_closed.set()
