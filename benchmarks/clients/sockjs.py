"""SockJS, the client's half, by the way that the library takes where it can: WebSocket.

It asks `/info` first, and says where it wants to read in the first message.
"""

import json
import secrets
import uuid
from typing import Any
from urllib.parse import urlencode

from benchmarks.clients.base import Client, step
from benchmarks.clients.http import BadResponse, Closed, Exchange, encode
from benchmarks.clients.websocket import WebSocket

PREFIX = "/sockjs"


class SockJS(WebSocket):
    transport = "sockjs"

    def __init__(self, url: str, room: str, **options: Any) -> None:
        super().__init__(url, room, **options)
        self._opened = False
        self._session = f"{PREFIX}/{secrets.randbelow(1000):03}/{secrets.token_hex(8)}"

    async def open(self) -> None:
        info = (await self._posts.ask("GET", self._booked(f"{PREFIX}/info"))).check(200).json()
        if not info["websocket"]:
            raise BadResponse("WebSocket is switched off")
        await super().open()
        await self._until(lambda: self._opened or self._closed is not None)
        id = str(uuid.uuid4())
        join = {"kind": "join", "id": id, "room": self.room}
        query = {"client": self.client, "name": self.name, "after": self.cursor or self._after}
        given = {name: value for name, value in query.items() if value is not None}
        receipt = await self._ask(id, self._wrapped(json.dumps(join | given).encode()))
        # What came before the answer, if anything, came after this cursor.
        self.cursor = receipt["cursor"]

    def _path(self, **more: str) -> str:
        return self._booked(f"{self._session}/websocket")

    def _booked(self, path: str) -> str:
        """Say in the address whose bytes these are, as our page does."""
        return path if self.client is None else f"{path}?{urlencode({'client': self.client})}"

    def _wrapped(self, body: bytes) -> bytes:
        return json.dumps([body.decode("utf-8", "surrogateescape")]).encode()

    def _hear(self, text: bytes) -> None:
        kind, rest = text[:1], text[1:]
        if kind == b"a":
            for message in json.loads(rest):
                self._understand(json.loads(message))
        elif kind == b"c":
            code, reason = json.loads(rest)
            self._end(Closed(code, reason))
        elif kind == b"o":
            self._opened = True
        elif kind != b"h":
            raise BadResponse(f"no frame of SockJS: {text[:20]!r}")


class SockJSPolling(Client):
    """The same where nothing but a poll gets through: one answer is one frame."""

    transport = "sockjs"

    def __init__(self, url: str, room: str, **options: Any) -> None:
        super().__init__(url, room, **options)
        self._polls = Exchange(self._server, self.down, self._headers)
        self._session = f"{PREFIX}/000/{secrets.token_hex(8)}"

    async def open(self) -> None:
        (await self._posts.ask("GET", f"{PREFIX}/info")).check(200)
        await self._read()
        join = {"kind": "join", "room": self.room, "after": self.cursor or self._after}
        given = {name: value for name, value in join.items() if value is not None}
        body = encode([encode(given).decode()])
        (await self._posts.ask("POST", f"{self._session}/xhr_send", body)).check(204)

    async def close(self) -> None:
        await self._polls.close()
        await super().close()

    def abort(self) -> None:
        self._polls.abort()
        super().abort()

    async def _read(self) -> None:
        response = await self._polls.ask("POST", f"{self._session}/xhr", b"")
        frame = response.check(200).body
        if frame[:1] == b"c":
            raise Closed(*json.loads(frame[1:]))
        if frame[:1] == b"a":
            self._steps.extend(map(step, map(json.loads, json.loads(frame[1:]))))
