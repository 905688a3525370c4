"""Programs of an attacker: each opens one transport, and returns the codes of errors."""

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlencode

from tests.transports.raw import Raw

UPGRADE = (
    *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def placed(token: str | None, place: str) -> tuple[dict[str, str], list[str]]:
    """Return the query and the header fields that carry a ticket in this place."""
    if token is None or place == "message":
        return {}, []
    fields = {
        "header": [f"Authorization: Bearer {token}"],
        "cookie": [f"Cookie: theme=dark; realtime_ticket={token}"],
        "query": [],
    }
    return {"ticket": token} if place == "query" else {}, fields[place]


class Attacker(Raw):
    """A raw connection that can also send what a driver needs."""

    async def get(self, path: str, query: Mapping[str, str], *fields: str) -> tuple[int, bytes]:
        """Send a GET; return its status, and its body unless that is a stream."""
        self.ask(f"{path}?{urlencode(query)}", *fields)
        return await self.response()

    async def post(self, path: str, body: Any, *fields: str) -> tuple[int, bytes]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", *fields]
        self.send("\r\n".join([*lines, f"Content-Length: {len(data)}", "", ""]).encode() + data)
        return await self.response()

    async def response(self) -> tuple[int, bytes]:
        head = await self.head()
        status = int(head[0].split()[1])
        if status == 401:
            assert any(line.lower().startswith("www-authenticate: bearer") for line in head)
        has_length = any(line.startswith("Content-Length") for line in head)
        return status, await self.body(head) if has_length else b""

    def frame(self, value: Any) -> None:
        """Send a text frame, with a mask of zeros."""
        data = json.dumps(value).encode()
        length = len(data)
        size = bytes([0x80 | length]) if length < 126 else b"\xfe" + length.to_bytes(2)
        self.send(b"\x81" + size + bytes(4) + data)

    async def unframe(self) -> tuple[int, bytes]:
        """Read a frame of the server: its opcode and its payload."""
        start = await self.exactly(2)
        length = start[1] if start[1] < 126 else int.from_bytes(await self.exactly(2))
        return start[0] & 15, await self.exactly(length)


def code_of(status: int, body: bytes) -> str | None:
    """Return the code of a refusal; None for a success."""
    if status in (101, 200, 201, 204):
        return None
    code: str = json.loads(body)["error"]["code"]
    return code


class SockJS:
    """A session over polls."""

    def __init__(self, raw: Attacker, token: str | None, place: str) -> None:
        self._raw = raw
        query, self._fields = placed(token, place)
        self._message = {"ticket": token} if place == "message" and token is not None else {}
        self._session, self._query = f"/sockjs/000/{secrets.token_hex(8)}", query

    def path(self, transport: str) -> str:
        return f"{self._session}/{transport}?{urlencode(self._query)}"

    async def open(self) -> None:
        status, body = await self._raw.post(self.path("xhr"), b"", *self._fields)
        assert (status, body) == (200, b"o\n")

    async def join(self, trace: str = "", secret: str = "", **fields: Any) -> str | None:
        """Open the session and join; return the code of the refusal."""
        query = {"trace": trace, "secret": secret}
        self._query |= {name: value for name, value in query.items() if value}
        await self.open()
        return await self.send({"kind": "join", "id": "join", **self._message, **fields})

    async def send(self, message: Any) -> str | None:
        status, _ = await self._raw.post(self.path("xhr_send"), [json.dumps(message)])
        assert status == 204
        async for reply in self.replies():
            if reply["kind"] in ("ack", "error"):
                return str(reply["code"]) if reply["kind"] == "error" else None
        raise AssertionError("the session ended")

    async def replies(self) -> AsyncIterator[Any]:
        while (frame := await self.poll()).startswith(b"a"):
            for message in json.loads(frame[1:]):
                yield json.loads(message)

    async def poll(self) -> bytes:
        status, body = await self._raw.post(self.path("xhr"), b"")
        assert status == 200
        return body


class SocketIO:
    """A session over polls."""

    def __init__(self, raw: Attacker, token: str | None, place: str) -> None:
        self._raw = raw
        self._ticket, self._fields = placed(token, place)
        self._auth = {"ticket": token} if place == "message" and token is not None else None
        self._queue: list[str] = []

    async def join(self, **fields: Any) -> str | None:
        return await self.open(**fields) or await self.connect(self._auth)

    async def open(self, after: str | None = "now", **fields: Any) -> str | None:
        query = {"EIO": "4", "transport": "polling", "roomid": fields.pop("room")}
        query |= fields | self._ticket | ({"after": after} if after else {})
        status, body = await self._raw.get("/socket.io/", query, *self._fields)
        if code := code_of(status, body):
            return code
        kept = {
            name: query[name] for name in ("EIO", "transport", "trace", "secret") if name in query
        }
        self.path = f"/socket.io/?{urlencode({**kept, 'sid': json.loads(body[1:])['sid']})}"
        return None

    async def connect(self, auth: Any) -> str | None:
        await self.post("40" + (json.dumps(auth) if auth is not None else ""))
        packet = await self.next()
        if packet.startswith("40"):
            return None
        assert packet.startswith("44")
        code: str = json.loads(packet[2:])["data"]["code"]
        return code

    async def send(self, message: Any, event: str = "say") -> str | None:
        await self.post("427" + json.dumps([event, message]))
        while not (packet := await self.next()).startswith("437"):
            pass
        (reply,) = json.loads(packet[3:])
        return str(reply["code"]) if reply["kind"] == "error" else None

    async def post(self, packet: str) -> None:
        assert await self._raw.post(self.path, packet.encode()) == (200, b"ok")

    async def next(self) -> str:
        while not self._queue:
            self._raw.ask(self.path)
            status, body = await self._raw.response()
            assert status == 200, body
            self._queue = body.decode().split("\x1e")
        return self._queue.pop(0)
