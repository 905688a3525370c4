"""What is the same for every client: where it asks, where it stands, how it sends, what it counts.

A client is the other end of a transport.  Its file shows only how the events come off the wire: a
poll asks again and again, a stream has a decoder that turns bytes into events.
"""

import asyncio
import time
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import quote, urlencode

from benchmarks.clients.http import (
    BadResponse,
    Closed,
    Connection,
    Count,
    Exchange,
    Head,
    Headers,
    Response,
    ResponseReader,
    Server,
    encode,
    messages_path,
)

Event = dict[str, Any]
# What a transport brings: an event (or none), and the cursor of whoever has seen it.
Step = tuple[Event | None, str]


def step(event: Event) -> Step:
    return event, event["cursor"]


class Client(ABC):
    """One reader, and perhaps member, of one room; an async context manager.

    When `open` has returned, everything said from then on will be received, whatever `after` was.
    `receive` may be cancelled, say by a timeout, and loses nothing.

    `after` is a cursor, ``"now"``, or None for the last 50 events.  A `client` with a `name` is a
    member of the room.  `host` replaces the authority of `url` in the `Host` field; `headers` are
    sent with every request (a cookie, an origin); `source` is an address of ours to come from.

    `down` counts the bytes of the connection that brings events, `up` those of the POSTs; on a
    WebSocket both ways are one, and `up` stays 0.
    """

    transport: ClassVar[str]

    def __init__(
        self,
        url: str,
        room: str,
        *,
        client: str | None = None,
        name: str | None = None,
        after: str | None = None,
        host: str | None = None,
        headers: Headers | None = None,
        source: str | None = None,
    ) -> None:
        self.room = room
        self.client = client
        self.name = name
        self.cursor: str | None = None
        self.down = Count()
        self.up = Count()
        self._server = Server(url, host, source)
        self._headers = headers or {}
        self._after = after
        self._steps: deque[Step] = deque()
        self._posts = Exchange(self._server, self.up, self._headers)
        self._posting = asyncio.Lock()

    # --- coming and going ------------------------------------------------------------------------

    @abstractmethod
    async def open(self) -> None:
        """Begin to read; raises `Refused`."""

    async def close(self) -> None:
        """Leave in an orderly way."""
        await self._posts.close()

    def abort(self) -> None:
        """Vanish: cut every socket."""
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

    # --- down ------------------------------------------------------------------------------------

    async def receive(self) -> Event:
        """Wait for the next event; raises `Closed` when the stream ended, `Refused` at a poll."""
        while True:
            while self._steps:
                event, self.cursor = self._steps.popleft()
                if event is not None:
                    return event
            await self._read()

    @abstractmethod
    async def _read(self) -> None:
        """Wait for something, and put what came into `_steps`."""

    def _path(self, **more: str) -> str:
        """The address of this reader, from where it stands now."""
        after = self.cursor or self._after
        query = {"after": after, "client": self.client, "name": self.name, **more}
        given = {name: value for name, value in query.items() if value is not None}
        path = f"/rooms/{quote(self.room, safe='')}/{self.transport}"
        return f"{path}?{urlencode(given)}" if given else path

    # --- up --------------------------------------------------------------------------------------

    async def send(self, text: Any, **fields: Any) -> dict[str, Any]:
        """Say `text`, and give ``{"cursor", "id"}``; raises `Refused`.

        `fields` replace what the message would have: an `id` to repeat, the `sent` time intended.
        """
        return await self.send_body(encode(self._message(text) | fields))

    async def send_body(self, body: bytes) -> dict[str, Any]:
        """Send a message as it is, right or wrong."""
        async with self._posting:
            response = await self._posts.ask("POST", messages_path(self.room), body)
        receipt: dict[str, Any] = response.check(200, 201).json()
        return receipt

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

    # --- the books -------------------------------------------------------------------------------

    @property
    def bytes_in(self) -> int:
        return self.down.bytes_in + self.up.bytes_in

    @property
    def bytes_out(self) -> int:
        return self.down.bytes_out + self.up.bytes_out


class PollClient(Client):
    """Asks, is answered, and asks again from the cursor of the answer.

    `open` asks once and is answered at once, so that the reader stands somewhere.  While nobody is
    in `receive`, nothing is asked.  After `Closed` or `Refused`, `receive` may be called again.
    """

    def __init__(self, url: str, room: str, **options: Any) -> None:
        super().__init__(url, room, **options)
        self._polls = Exchange(self._server, self.down, self._headers)
        self._more = False

    async def open(self) -> None:
        await self._read()

    async def close(self) -> None:
        await self._polls.close()
        await super().close()

    def abort(self) -> None:
        self._polls.abort()
        super().abort()

    @abstractmethod
    async def _ask(self) -> None:
        """Send the next poll, when it is time; the first must not be kept waiting."""

    async def _read(self) -> None:
        if not self._polls.asking:
            await self._ask()
        self._take(await self._polls.finish())

    def _take(self, response: Response) -> None:
        answer = response.check(200).json()
        self._more = answer.get("more", False)
        self._steps.extend(map(step, answer["events"]))
        # Whoever has seen the last event has also seen all that the answer covers.
        self._steps.append((None, answer["cursor"]))
        if not answer["events"]:
            self.cursor = answer["cursor"]


class StreamClient(Client):
    """Asks once, and reads an answer that does not end."""

    content_type: ClassVar[str]

    def __init__(self, url: str, room: str, **options: Any) -> None:
        super().__init__(url, room, **options)
        self._connection: Connection | None = None
        self._response = ResponseReader()

    async def open(self) -> None:
        self._connection = await self._server.connect(self.down)
        path = self._path()
        self._connection.write(self._server.request("GET", path, self._headers))
        body, head = await self._read_head()
        if head.status != 200:
            while not self._response.complete:
                body += await self._read_body()
            Response(head, body).check()
        if head.fields.get("content-type") != self.content_type:
            raise BadResponse(f"not {self.content_type}: {head.fields.get('content-type')}")
        self._begin(head)
        self._steps.extend(self._decode(body))

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
        await super().close()

    def abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()
        super().abort()

    def _begin(self, head: Head) -> None:
        """Look at the head before the first event is decoded."""

    @abstractmethod
    def _decode(self, data: bytes) -> Iterable[Step]:
        """Turn the next bytes of the body, cut anywhere, into events."""

    async def _read_head(self) -> tuple[bytes, Head]:
        body = b""
        while self._response.head is None:
            body += await self._read_body()
        return body, self._response.head

    async def _read_body(self) -> bytes:
        assert self._connection is not None, "not open"
        data = await self._connection.read()
        if not data:
            self._response.end()
        return self._response.feed(data)

    async def _read(self) -> None:
        if self._response.complete:
            raise Closed(None, "the server ended the stream")
        self._steps.extend(self._decode(await self._read_body()))
