"""Socket.IO, the client's half, as the library does it: it polls, then upgrades to a WebSocket.

    GET  polling            ◀ 0{"sid":…}      the session is open
    POST 40                                   connect
    GET  polling            ◀ 40{"sid":…}     connected, and the first events
    WebSocket      2probe ▶ ◀ 3probe
    GET  polling            ◀ 6               the poll is released
    WebSocket           5 ▶                   from here on everything by WebSocket

The load generator opens the WebSocket at once and connects on it.
"""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from realtime.client.http import (
    BadResponse,
    Closed,
    Endpoint,
    Headers,
    HTTPConnection,
    Refused,
    Response,
    expecting,
)
from realtime.client.sansio import Loads, RoomQuery, Update, with_cursor
from realtime.client.websocket import TEXT, WebSocketClient, WebSocketProtocol

PATH = "/socket.io/"
# Between the packets of one payload; no JSON contains it.
SEPARATOR = b"\x1e"


class SocketIOProtocol(WebSocketProtocol):
    """Packets of Engine.IO 4, each in a frame or several in the payload of a poll.

    `ready` when connected.  With a session that was opened by polls, `request` upgrades it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        query: RoomQuery,
        *,
        headers: Headers | None = None,
        loads: Loads = json.loads,
    ) -> None:
        super().__init__(endpoint, self._websocket_path, headers=headers, loads=loads)
        self.sid: str | None = None
        self.probed = self.released = False
        self._query = query
        self._packets: list[bytes] = []
        self._published = 0

    def address(self, transport: str) -> str:
        """Return the address of this session by `polling` or `websocket`."""
        fields = self._query.fields(self.cursor)
        if not fields.keys() & {"after", "client"}:
            fields["client"] = ""  # else the server takes us for a client of the tutorial
        query = {"EIO": "4", "transport": transport, "roomid": self._query.room, **fields}
        if self.sid is not None:
            query["sid"] = self.sid
        return f"{PATH}?{urlencode(query)}"

    def _websocket_path(self, cursor: str | None) -> str:
        return self.address("websocket")

    def connect(self, now: float) -> bytes:
        self.sid = None  # a new connection has a new session
        return super().connect(now)

    def _on_upgrade(self) -> None:
        pass  # not ready yet: the session opens and connects, or did so by polls

    # --- receive ---------------------------------------------------------------------------------

    def receive_text(self, payload: bytes) -> Iterable[Update]:
        updates = self.receive_packet(payload)
        for packet in self._packets:
            self._send(TEXT, packet)
        self._packets.clear()
        return updates

    def receive_payload(self, payload: bytes) -> list[Update]:
        """Parse the packets in the response of a poll."""
        packets = payload.split(SEPARATOR)
        updates = [update for packet in packets for update in self.receive_packet(packet)]
        if updates:
            self.cursor = updates[-1][1]
        return updates

    def receive_packet(self, packet: bytes) -> Iterable[Update]:
        if packet[:2] == b"42":
            return self._receive_event(*self._loads(packet[2:]))
        if packet[:2] == b"43":
            (reply,) = self._loads(packet[packet.index(b"[") :])
            return self.receive_json(reply)
        if packet[:2] == b"40":
            self.ready = True
        elif packet[:1] == b"0":
            self.sid = json.loads(packet[1:])["sid"]
            self._packets.append(b"40")
        elif packet == b"2":
            self._packets.append(b"3")
        elif packet == b"3probe":
            self.probed = True
        elif packet == b"6":
            self.released = True
        elif packet not in (b"1", b"41"):
            raise BadResponse(f"not an Engine.IO packet: {packet[:20]!r}")
        return ()

    def _receive_event(self, name: str, argument: Any) -> Iterable[Update]:
        if name == "event":
            return (with_cursor(argument),)
        if name != "trouble":
            raise BadResponse(f"an unexpected event: {name}")
        if not self.ready:
            raise Refused(None, argument["code"], argument["message"])
        return ()  # the server closes the session next

    # --- send ------------------------------------------------------------------------------------

    def send_packet(self, packet: bytes) -> None:
        """Queue a packet for the WebSocket."""
        self._send(TEXT, packet)

    def payload_to_send(self) -> bytes:
        """Return the packets that are due, for a POST."""
        payload = SEPARATOR.join(self._packets)
        self._packets.clear()
        return payload

    def _wrap(self, body: bytes) -> bytes:
        self._published += 1
        try:
            argument = json.loads(body)
        except (ValueError, RecursionError):
            argument = body.decode("utf-8", "replace")
        return f"42{self._published}{json.dumps(['say', argument])}".encode()


class SocketIOUpgradingClient(WebSocketClient):
    transport = "socketio"
    _protocol: SocketIOProtocol

    def __init__(self, url: str, room: str, **options: Any) -> None:
        super().__init__(url, room, **options)
        self._polls = HTTPConnection(self._endpoint, self.up, self._headers)

    def _make_protocol(self) -> SocketIOProtocol:
        return SocketIOProtocol(self._endpoint, self._query, headers=self._headers)

    # --- open and close --------------------------------------------------------------------------

    async def open(self) -> None:
        await self._connect_by_polling()
        await self._send_poll()  # events of the next moments arrive this way
        try:
            await self._upgrade()
        except Refused as refused:
            if refused.code != "bad_request":
                raise
            # Another server, perhaps one that has just started, does not know the session.
            raise Closed(None, refused.message) from refused

    async def _connect_by_polling(self) -> None:
        await self._poll()
        if self._protocol.sid is None:
            raise BadResponse("the first packet does not open a session")
        while not self._protocol.ready:
            await self._poll()

    async def _upgrade(self) -> None:
        protocol = self._protocol
        await self._connect(protocol.request())
        await self._until(lambda: protocol.upgraded or protocol.closed is not None)
        if not protocol.upgraded:
            self._raise_closed()
        protocol.send_packet(b"2probe")
        self._flush()
        await self._until(lambda: protocol.probed or protocol.closed is not None)
        while not protocol.released:
            await self._poll()
        protocol.send_packet(b"5")
        self._flush()
        await self._polls.close()

    async def close(self) -> None:
        await self._polls.close()
        await super().close()

    def abort(self) -> None:
        self._polls.abort()
        super().abort()

    # --- polls -----------------------------------------------------------------------------------

    async def _send_poll(self) -> None:
        await self._polls.send_request("GET", self._protocol.address("polling"))

    async def _poll(self) -> None:
        """Read the response of a poll, and post what it asks for."""
        if not self._polls.awaiting_response:
            await self._send_poll()
        response: Response = await self._polls.read_response()
        with expecting("packets of Engine.IO"):
            self._updates.extend(self._protocol.receive_payload(response.check(200).body))
        if payload := self._protocol.payload_to_send():
            address = self._protocol.address("polling")
            (await self._polls.request("POST", address, payload)).check(200)


class SocketIOPollingClient(SocketIOUpgradingClient):
    """The fallback where no WebSocket gets through: events by polls; it cannot publish."""

    async def open(self) -> None:
        await self._connect_by_polling()

    async def _read(self) -> None:
        await self._poll()

    async def send_body(self, body: bytes) -> dict[str, Any]:
        raise NotImplementedError("this client only reads")
