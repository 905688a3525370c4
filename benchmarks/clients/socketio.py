"""Socket.IO, the client's half, as the library does it: polls, and a WebSocket instead of them.

GET  polling            0{"sid":…}
POST 40                 CONNECT
GET  polling            40{"sid":…}, and what came meanwhile
WebSocket               2probe ▶ ◀ 3probe
GET  polling            6: nothing more comes by polls
WebSocket               5 ▶, and from here on everything
"""

import json
from typing import Any
from urllib.parse import urlencode

from benchmarks.clients.base import step
from benchmarks.clients.http import BadResponse, Exchange, Response
from benchmarks.clients.websocket import TEXT, WebSocket, frame

PATH = "/socket.io/"
SEPARATOR = b"\x1e"


class SocketIO(WebSocket):
    transport = "socketio"

    def __init__(self, url: str, room: str, **options: Any) -> None:
        super().__init__(url, room, **options)
        self._polls = Exchange(self._server, self.up, self._headers)
        self._sid: str | None = None
        self._connected = self._probed = self._paused = False
        self._asked = 0

    # --- coming and going ------------------------------------------------------------------------

    async def _connect(self) -> None:
        """Open a session and connect, by polls."""
        opening = (await self._polls.ask("GET", self._address("polling"))).check(200).body
        if opening[:1] != b"0":
            raise BadResponse(f"not an open packet: {opening[:20]!r}")
        self._sid = json.loads(opening[1:])["sid"]
        (await self._polls.ask("POST", self._address("polling"), b"40")).check(200)
        while not self._connected:
            await self._poll()

    async def open(self) -> None:
        await self._connect()
        await self._begin_poll()  # what is said meanwhile comes this way
        await super().open()
        self._write(frame(TEXT, b"2probe"))
        await self._until(lambda: self._probed or self._closed is not None)
        while not self._paused:
            await self._poll()
        self._write(frame(TEXT, b"5"))
        await self._polls.close()

    async def close(self) -> None:
        await self._polls.close()
        await super().close()

    def abort(self) -> None:
        self._polls.abort()
        super().abort()

    def _path(self, **more: str) -> str:
        return self._address("websocket")

    def _address(self, way: str) -> str:
        query = {
            "EIO": "4",
            "transport": way,
            "roomid": self.room,
            "after": self.cursor or self._after,
            "client": self.client,
            "name": self.name,
            "sid": self._sid,
        }
        if query["after"] is None and query["client"] is None:
            query["client"] = ""  # or it would be taken for the article's client
        given = {name: value for name, value in query.items() if value is not None}
        return f"{PATH}?{urlencode(given)}"

    async def _begin_poll(self) -> None:
        await self._polls.begin("GET", self._address("polling"))

    async def _poll(self) -> None:
        if not self._polls.asking:
            await self._begin_poll()
        response: Response = await self._polls.finish()
        for packet in response.check(200).body.split(SEPARATOR):
            self._hear(packet)

    # --- packets ---------------------------------------------------------------------------------

    def _hear(self, text: bytes) -> None:
        if text == b"2":
            self._write(frame(TEXT, b"3"))
        elif text == b"3probe":
            self._probed = True
        elif text[:2] == b"40":
            self._connected = True
        elif text[:2] == b"42":
            self._take_event(*json.loads(text[2:]))
        elif text[:2] == b"43":
            (said,) = json.loads(text[text.index(b"[") :])
            self._understand(said)
        elif text == b"6":
            self._paused = True
        elif text not in (b"1", b"41"):
            raise BadResponse(f"no packet of Engine.IO: {text[:20]!r}")

    def _take_event(self, name: str, argument: Any) -> None:
        if name == "event":
            self._steps.append(step(argument))
        elif name != "trouble":
            raise BadResponse(f"an event that nobody asked for: {name}")

    def _wrapped(self, body: bytes) -> bytes:
        self._asked += 1
        try:
            argument = json.loads(body)
        except (ValueError, RecursionError):
            argument = body.decode("utf-8", "replace")
        return f"42{self._asked}{json.dumps(['say', argument])}".encode()


class SocketIOPolling(SocketIO):
    """The same where no WebSocket gets through: polls down, posts up."""

    async def open(self) -> None:
        await self._connect()

    async def _read(self) -> None:
        await self._poll()

    async def send_body(self, body: bytes) -> dict[str, Any]:
        raise NotImplementedError("it only reads")
