"""What all asyncio clients share: their room and cursor, how they publish, the bytes they count.

A client is the other end of a transport.  Its file shows only how events are read from the wire:
a poll sends one request after another, a stream has a sans-I/O protocol (sansio.py).
"""

import asyncio
import json
import ssl
import time
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar, Self

from realtime.client.http import (
    ByteCount,
    Closed,
    Endpoint,
    Headers,
    HTTPConnection,
    Response,
    ResponseHead,
    TCPConnection,
    encode,
    expecting,
    messages_path,
)
from realtime.client.sansio import (
    ClientProtocol,
    Decoder,
    Event,
    Loads,
    RoomQuery,
    StreamProtocol,
    Update,
    client_id,
    parse_poll,
)


class Client(ABC):
    """One reader, and perhaps member, of one room; an async context manager.

    After `open` has returned, every later event will be received, whatever `after` was.
    `receive` may be cancelled, by a timeout for example, and loses nothing.

    `after` is a cursor, ``"now"``, or None for the last 50 events.  A `client` with a `name` is a
    member of the room.  With a `secret`, the client has the id that only its owner can use, unless
    `client` is given.  `host` replaces the authority of `url` in the `Host` field; `headers` are
    sent with every request (a cookie, an origin); `tls` says which certificates to trust; `source`
    is a local address to connect from.
    `encoding` asks for compression: gzip or zstd, and deflate on a WebSocket.  `trace` is the
    secret of a traffic capture.

    `down` counts the bytes of the connection that delivers events, `up` those of the POSTs.  On a
    WebSocket both directions share one connection, and `up` stays 0.
    """

    transport: ClassVar[str]

    def __init__(
        self,
        url: str,
        room: str,
        *,
        client: str | None = None,
        name: str | None = None,
        secret: str | None = None,
        after: str | None = None,
        host: str | None = None,
        headers: Headers | None = None,
        tls: ssl.SSLContext | None = None,
        source: str | None = None,
        encoding: str | None = None,
        trace: str | None = None,
    ) -> None:
        if secret is not None and client is None:
            client = client_id(secret)
        self.room = room
        self.client = client
        self.name = name
        self.cursor: str | None = None
        self.down = ByteCount()
        self.up = ByteCount()
        self._query = RoomQuery(room, after, client, name, secret, encoding, trace)
        self._endpoint = Endpoint(url, host, source, tls)
        self._headers = headers or {}
        self._updates: deque[Update] = deque()
        self._posts = HTTPConnection(self._endpoint, self.up, self._headers)
        self._post_lock = asyncio.Lock()

    # --- open and close --------------------------------------------------------------------------

    @abstractmethod
    async def open(self) -> None:
        """Start to read; raises `Refused`."""

    async def close(self) -> None:
        """Close every connection after what was sent has left."""
        await self._posts.close()

    def abort(self) -> None:
        """Reset every connection, as a machine that lost its power."""
        self._posts.abort()

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            self.abort()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # --- receive ---------------------------------------------------------------------------------

    async def receive(self) -> Event:
        """Wait for the next event; raises `Closed` at the end of a stream, `Refused` at a poll."""
        while True:
            while self._updates:
                event, self.cursor = self._updates.popleft()
                if event is not None:
                    return event
            await self._read()

    @property
    def unread(self) -> int:
        """How many updates have arrived and were not received."""
        return len(self._updates)

    @abstractmethod
    async def _read(self) -> None:
        """Wait for bytes, and append the events in them to `_updates`."""

    # --- publish ---------------------------------------------------------------------------------

    async def send(self, text: Any, **fields: Any) -> dict[str, Any]:
        """Publish `text` and return ``{"cursor", "id"}``; raises `Refused`.

        `fields` replace fields of the message: an `id` to repeat, the intended `sent` time.
        """
        return await self.send_body(encode(self._message(text) | fields))

    async def send_body(self, body: bytes) -> dict[str, Any]:
        """Publish a message as these bytes, valid or not."""
        async with self._post_lock:
            path = messages_path(self.room, self._query.secret)
            response = await self._posts.request("POST", path, body)
        with expecting("a receipt"):
            receipt = response.check(200, 201).json()
            return {"cursor": receipt["cursor"], "id": receipt["id"]}

    def _message(self, text: Any) -> dict[str, Any]:
        message = {
            "id": str(uuid.uuid4()),
            "client": self.client,
            "name": self.name,
            "text": text,
            "via": self.transport,
            "sent": round(time.time() * 1000, 1),
        }
        return {name: value for name, value in message.items() if value is not None}

    # --- byte counts -----------------------------------------------------------------------------

    @property
    def bytes_in(self) -> int:
        return self.down.bytes_in + self.up.bytes_in

    @property
    def bytes_out(self) -> int:
        return self.down.bytes_out + self.up.bytes_out


class PollClient(Client):
    """Sends a request, reads the response, and continues from the cursor of the response.

    The first request, in `open`, is answered at once and returns the current cursor.  A request is
    sent only while somebody waits in `receive`.  After `Closed` or `Refused`, `receive` may be
    called again.
    """

    def __init__(self, url: str, room: str, **options: Any) -> None:
        super().__init__(url, room, **options)
        self._polls = HTTPConnection(self._endpoint, self.down, self._headers)
        self._more = self._ended = False

    async def open(self) -> None:
        self._ended = False
        await self._read()

    async def close(self) -> None:
        self._ended = True
        await self._polls.close()
        await super().close()

    def abort(self) -> None:
        self._ended = True
        self._polls.abort()
        super().abort()

    @abstractmethod
    async def _send_poll(self) -> None:
        """Send the next poll when it is due; the first is due at once."""

    async def _request(self, **more: str) -> None:
        """Send a poll, unless the client was closed while it waited."""
        if self._ended:
            raise Closed(None, "this client is closed")
        await self._polls.send_request("GET", self._path(**more))

    def _path(self, **more: str) -> str:
        """The address of the next poll."""
        return self._query.path(self.transport, self.cursor, **more)

    async def _read(self) -> None:
        if not self._polls.awaiting_response:
            await self._send_poll()
        self._receive_response(await self._polls.read_response())

    def _receive_response(self, response: Response) -> None:
        updates, self._more = parse_poll(response.check(200).body, json.loads)
        self._updates.extend(updates)
        if len(updates) == 1:  # no event, only a cursor
            self.cursor = updates[0][1]


class StreamClient(Client):
    """Reads one connection through a sans-I/O protocol.

    Events and replies share the connection.  Any task that waits for either reads for all of them,
    so there is no background task, and no queue that grows while nobody waits.
    """

    _protocol: ClientProtocol

    def __init__(self, url: str, room: str, **options: Any) -> None:
        super().__init__(url, room, **options)
        self._protocol = self._make_protocol()
        self._connection: TCPConnection | None = None
        self._reading: asyncio.Event | None = None  # set when the task that reads has read

    @abstractmethod
    def _make_protocol(self) -> ClientProtocol:
        """Return the half without a socket."""

    async def open(self) -> None:
        await self._connect(self._protocol.connect(_now()))
        await self._until(lambda: self._protocol.ready or self._protocol.closed is not None)
        if not self._protocol.ready:
            self._raise_closed()

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
        await super().close()

    def abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()
        super().abort()

    async def _connect(self, request: bytes) -> None:
        self._connection = await self._endpoint.connect(self.down)
        self._connection.write(request)

    async def _read(self) -> None:
        await self._until(lambda: bool(self._updates) or self._protocol.closed is not None)
        if not self._updates:
            self._raise_closed()

    async def _until(self, done: Callable[[], bool]) -> None:
        """Wait until `done()`: one task reads, and the others check again when it has read."""
        assert self._connection is not None, "not open"
        while not done():
            if self._reading is not None:
                await self._reading.wait()
                continue
            reading = self._reading = asyncio.Event()
            data = b""
            try:
                with suppress(Closed):  # a reset ends the connection as a close does
                    data = await self._connection.read()
                self._receive(data)
            finally:
                self._reading = None
                reading.set()

    def _receive(self, data: bytes) -> None:
        if data:
            with expecting("what our server sends"):
                self._updates.extend(self._protocol.receive_data(data, _now()))
        else:
            self._protocol.receive_eof()
        self._flush()

    def _flush(self) -> None:
        """Write what the protocol has to send."""
        if data := self._protocol.data_to_send(_now()):
            assert self._connection is not None, "not open"
            self._connection.write(data)

    def _raise_closed(self) -> None:
        closed = self._protocol.closed
        assert closed is not None
        raise Closed(closed.code, closed.reason)


class HTTPStreamClient(StreamClient):
    """Reads a streaming response; a subclass says of which type, and how events are decoded."""

    content_type: ClassVar[str]

    @staticmethod
    @abstractmethod
    def decoder(head: ResponseHead, loads: Loads) -> Decoder:
        """Return what turns the bytes of this response into events."""

    def _make_protocol(self) -> ClientProtocol:
        return StreamProtocol(
            self._endpoint,
            self._path,
            self.decoder,
            content_type=self.content_type,
            headers=self._headers,
        )

    def _path(self, cursor: str | None) -> str:
        return self._query.path(self.transport, cursor)


def _now() -> float:
    return asyncio.get_running_loop().time()
