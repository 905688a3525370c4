"""SockJS, the client's half, by the transport that the library prefers: WebSocket.

The library requests `/info` first.  The first message joins the room, because a SockJS address
names no room:

    GET /sockjs/info                     ◀ {"websocket":true, …}
    GET /sockjs/000/SESSION/websocket    ◀ 101, and from here on frames:
                                         ◀ o       the session is open
    ["{…join…}"]                         ▶
                                         ◀ a[…]    messages; the first acknowledges the join
                                         ◀ h       heartbeat
                                         ◀ c[…]    close
"""

import json
import re
import secrets
import uuid
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from realtime.client.base import Client
from realtime.client.http import (
    BadResponse,
    Closed,
    Endpoint,
    Headers,
    HTTPConnection,
    Response,
    encode,
    expecting,
)
from realtime.client.replies import error_of
from realtime.client.sansio import Loads, RoomQuery, Update, with_cursor
from realtime.client.websocket import WebSocketClient, WebSocketProtocol

PREFIX = "/sockjs"


class SockJSProtocol(WebSocketProtocol):
    """Joins a room as soon as the session is open; `ready` when the join is acknowledged.

    With `request_info` the first request of a connection asks for `/info`, and the upgrade follows
    on the same connection.
    """

    id_pattern = re.compile(rb'\\"id\\": ?\\"([0-9a-f-]{36})')

    def __init__(
        self,
        endpoint: Endpoint,
        query: RoomQuery,
        *,
        request_info: bool = False,
        headers: Headers | None = None,
        loads: Loads = json.loads,
    ) -> None:
        session = f"{PREFIX}/{secrets.randbelow(1000):03}/{secrets.token_hex(8)}/websocket"
        address = _with_client(session, query)
        super().__init__(endpoint, lambda cursor: address, headers=headers, loads=loads)
        self.info_path = _with_client(f"{PREFIX}/info", query)
        self._query = query
        self._request_info = request_info
        self._awaiting_info = False

    # --- handshake -------------------------------------------------------------------------------

    def request(self) -> bytes:
        self._awaiting_info = self._request_info
        if not self._request_info:
            return super().request()
        self._reset()
        return self.get(self.info_path)

    def receive_data(self, data: bytes, now: float) -> Sequence[Update]:
        if not self._awaiting_info:
            return super().receive_data(data, now)
        self._info += self._response.feed(data)
        if self._response.complete:
            assert self._response.head is not None
            check_info(Response(self._response.head, self._info))
            self._awaiting_info = False
            self._outgoing.append(super().request())
            self.send_at = now
        return ()

    def _reset(self) -> None:
        super()._reset()
        self._info = b""

    def _on_upgrade(self) -> None:
        pass  # not ready yet: the session opens, then it joins

    def _join(self) -> None:
        join = {"kind": "join", "id": str(uuid.uuid4()), "room": self._query.room}
        fields = self._query.fields(self.cursor)
        for name in ("secret", "trace"):  # the address has them
            fields.pop(name, None)
        self.publish(encode(join | fields))

    # --- receive ---------------------------------------------------------------------------------

    def receive_text(self, payload: bytes) -> Iterable[Update]:
        kind, rest = payload[:1], payload[1:]
        if kind == b"a":
            messages = map(self._loads, self._loads(rest))
            return [update for message in messages for update in self.receive_json(message)]
        if kind == b"o":
            self._join()
        elif kind == b"c":
            code, reason = self._loads(rest)
            self.closed = self.closed or Closed(code, reason)
        elif kind != b"h":
            raise BadResponse(f"not a SockJS frame: {payload[:20]!r}")
        return ()

    def receive_json(self, message: dict[str, Any]) -> Iterable[Update]:
        if self.ready or message["kind"] not in ("ack", "error"):
            return super().receive_json(message)
        if message["kind"] == "error":
            raise error_of(message)
        self.ready = True
        # An event before the acknowledgement comes after the cursor in it.
        return ((None, message["cursor"]),) if self.cursor is None else ()

    # --- send ------------------------------------------------------------------------------------

    def _wrap(self, body: bytes) -> bytes:
        return json.dumps([body.decode("utf-8", "surrogateescape")]).encode()


def check_info(response: Response) -> None:
    with expecting("the information of a SockJS server"):
        if not response.check(200).json()["websocket"]:
            raise BadResponse("the server has switched WebSocket off")


def _with_client(path: str, query: RoomQuery) -> str:
    """Add the client to an address, as our page does, so that the server counts its bytes."""
    given = {"client": query.client, "secret": query.secret, "trace": query.trace}
    fields = {name: value for name, value in given.items() if value is not None}
    return f"{path}?{urlencode(fields)}" if fields else path


class SockJSClient(WebSocketClient):
    transport = "sockjs"
    _protocol: SockJSProtocol

    def _make_protocol(self) -> SockJSProtocol:
        return SockJSProtocol(self._endpoint, self._query, headers=self._headers)

    async def open(self) -> None:
        check_info(await self._posts.request("GET", self._protocol.info_path))
        await super().open()


class SockJSPollingClient(Client):
    """The fallback where only polls get through: each response is one frame."""

    transport = "sockjs"

    def __init__(self, url: str, room: str, **options: Any) -> None:
        super().__init__(url, room, **options)
        self._polls = HTTPConnection(self._endpoint, self.down, self._headers)
        self._session = f"{PREFIX}/000/{secrets.token_hex(8)}"

    async def open(self) -> None:
        (await self._posts.request("GET", f"{PREFIX}/info")).check(200)
        await self._read()
        join = {"kind": "join", "room": self.room, **self._query.fields(self.cursor)}
        body = encode([encode(join).decode()])
        (await self._posts.request("POST", f"{self._session}/xhr_send", body)).check(204)

    async def close(self) -> None:
        await self._polls.close()
        await super().close()

    def abort(self) -> None:
        self._polls.abort()
        super().abort()

    async def _read(self) -> None:
        response = await self._polls.request("POST", f"{self._session}/xhr", b"")
        frame = response.check(200).body
        if frame[:1] == b"c":
            raise Closed(*json.loads(frame[1:]))
        if frame[:1] == b"a":
            self._updates.extend(map(with_cursor, map(json.loads, json.loads(frame[1:]))))
