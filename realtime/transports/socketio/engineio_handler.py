"""The HTTP requests of an Engine.IO session: its handshake, its polls and posts, and its WebSocket.

    GET  ?EIO=4&transport=polling           a new session; the response has its `sid`
    GET  ?EIO=4&transport=polling&sid=…     a poll: waits for packets
    POST ?EIO=4&transport=polling&sid=…     packets from the client
    GET  ?EIO=4&transport=websocket[&sid=…] a WebSocket, for a new session or instead of the polls

Everything a client sends is checked here and rejected with a named error; python-engineio receives
only packets and queries that it can parse.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from engineio.exceptions import EngineIOError
from engineio.packet import Packet
from tornado.httputil import HTTPHeaders
from tornado.web import RequestHandler

from realtime import errors
from realtime.protocol.http1 import CONTINUE, allowed_methods
from realtime.transports.base import CORS_HEADERS, PREFLIGHT_HEADERS
from realtime.transports.socketio.engineio import POSTED_PACKET, EngineIOServer, bad_packet
from realtime.transports.socketio.session import SEPARATOR, EngineIOSession
from realtime.transports.upgrade import Upgrade, check_connected

_NO_HEADERS = HTTPHeaders()


class EngineIOHandler(Upgrade):
    """One request of a session; a subclass decides what a session is."""

    engine: EngineIOServer
    session: EngineIOSession

    async def new_session(self) -> EngineIOSession:
        """Create a session for this request; raises a named error."""
        raise NotImplementedError

    def known_session(self, id: str) -> EngineIOSession | None:
        """Return the session with this id."""
        raise NotImplementedError

    # --- requests --------------------------------------------------------------------------------

    def prepare(self) -> None:
        self._body = bytearray()
        self._max_body = 4 * self.services.limits.body_bytes
        self._incoming: asyncio.Queue[str | bytes | None] = asyncio.Queue(1)
        self._disconnected = self._polling = False
        self._allow_own_origin()
        super().prepare()

    def data_received(self, chunk: bytes) -> None:
        if len(self._body) <= self._max_body:
            self._body += chunk

    async def get(self) -> None:
        id = self._check_query()
        is_websocket = self._transport_argument() == "websocket"
        if is_websocket:
            self.check_upgrade()
        self.session = await self.new_session() if id is None else self._find_session(id)
        if is_websocket:
            await self._open_websocket()
        else:
            await self._answer_poll()

    head = RequestHandler._unimplemented_method  # a poll takes packets from its session

    async def post(self) -> None:
        session = self.session = self._find_session(self._check_query() or "")
        if session.posting or session.socket.upgraded:
            raise errors.BadRequest("Send one POST at a time, and none after the upgrade.")
        session.posting = True
        try:
            for packet in self._parse_packets():
                if session.error is None:
                    await session.socket.receive(packet)
                    await asyncio.sleep(0)  # a payload can contain thousands of packets
        finally:
            session.posting = False
        if session.error is not None:
            raise session.error
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish("ok")

    def options(self) -> None:
        """Answer the CORS preflight of a page that we served on another of our ports."""
        if self.cors_origin is None:
            raise errors.BadMethod("This address does not accept that method; see `Allow`.")
        self.set_status(204)
        self.clear_header("Content-Type")
        self.set_header("Access-Control-Allow-Methods", ", ".join(allowed_methods(type(self))))
        for name, value in PREFLIGHT_HEADERS.items():
            self.set_header(name, value)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self._allow_own_origin()
        super().write_error(status_code, **kwargs)

    def _allow_own_origin(self) -> None:
        if self.cors_origin is not None:
            self.set_header("Access-Control-Allow-Origin", self.cors_origin)
            for name, value in CORS_HEADERS.items():
                self.set_header(name, value)

    def _transport_argument(self) -> str:
        return self.argument("transport", errors.BadRequest) or "polling"

    def _check_query(self) -> str | None:
        """Check the query of an Engine.IO request; return the session id, None for a new one."""
        if "j" in self.arguments:
            # A script tag sends no Origin, so any page could read the response.
            raise errors.BadRequest("JSONP is not supported; use XHR polling or a WebSocket.")
        if self._transport_argument() not in ("polling", "websocket"):
            raise errors.BadRequest("`transport` must be `polling` or `websocket`.")
        id = self.argument("sid", errors.BadRequest)
        if id is None and self.argument("EIO", errors.BadRequest) != "4":
            raise errors.BadRequest("This is Engine.IO 4: use a client of Socket.IO 3 or 4.")
        return id

    def _find_session(self, id: str) -> EngineIOSession:
        session = self.known_session(id)
        if session is None or session.closed or session.address != self.stream.address:
            raise errors.BadRequest("There is no such session; start a new one.")
        return session

    def _parse_packets(self) -> Iterable[Packet]:
        """Check all packets of the body, and parse each when it is wanted: they can be many."""
        if len(self._body) > self._max_body:
            raise errors.TooLong(f"A payload may have at most {self._max_body} bytes.")
        try:
            parts = self._body.decode("utf-8").split(SEPARATOR)
        except UnicodeDecodeError:
            parts = [""]
        if not all(map(POSTED_PACKET.fullmatch, parts)):
            self.session.close(bad_packet())
            return []
        return (Packet(encoded_packet=part) for part in parts)

    # --- a poll ----------------------------------------------------------------------------------

    async def _answer_poll(self) -> None:
        session = self.session
        if session.poll is not None or (session.id and session.socket.upgraded):
            raise errors.BadRequest("Send one poll at a time, and none after the upgrade.")
        if not session.id:
            check_connected(self.stream)  # else nobody would end the new session
        session.poll, self._polling = self, True
        self.stream.set_half_close_callback(self._check_reader)
        if self.stream.closed():  # before we asked to be informed: nobody will report it
            self.on_close()
        try:
            status, payload = await self.engine.handle_request(self._environ("polling"))
        finally:
            session.poll, self._polling = None, False
        if status != 200:
            raise errors.BadRequest("The session has ended; start a new one.")
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(payload)

    def _check_reader(self) -> None:
        """Learn whether a client that has ended its side still reads."""
        if self._polling and self.request.version == "HTTP/1.1":
            self.stream.write(CONTINUE)

    def _environ(self, transport: str) -> dict[str, Any]:
        """Return the WSGI environment that python-engineio expects, with our objects in it."""
        id = self.session.id
        environ = {
            "REQUEST_METHOD": "GET",
            "QUERY_STRING": f"EIO=4&transport={transport}" + (f"&sid={id}" if id else ""),
            "session": self.session,
            "local_address": self.stream.local_address,
        }
        if transport == "websocket":
            # python-engineio upgrades any request that has these, so a poll must not have them.
            environ |= {"HTTP_CONNECTION": "upgrade", "HTTP_UPGRADE": transport, "handler": self}
        return environ

    # --- a WebSocket -----------------------------------------------------------------------------

    async def _open_websocket(self) -> None:
        session = self.session
        if session.websocket is not None:
            raise errors.BadRequest("Open one WebSocket at a time.")
        session.websocket = self
        try:
            await self.upgrade()
        finally:
            if self.get_status() != 101:
                session.websocket = None

    def open(self) -> None:
        # No longer needed; a browser's headers take about three kilobytes.
        self.request.headers = _NO_HEADERS
        self.request.connection = None
        self.stream.drained = self.session.resume
        self.engine.spawn(self._serve_websocket)

    async def _serve_websocket(self) -> None:
        session = self.session
        try:
            # The connection can be lost in any step of a probe.
            with suppress(OSError, EngineIOError):
                await self.engine.handle_request(self._environ("websocket"))
        finally:
            self._stop_receiving()
            self.stream.drained = None
            session.websocket = None
            self.close_websocket()
            if session.socket.upgraded:
                await session.socket.close(wait=False, abort=True)
            else:
                session.socket.upgrading = False
                session.resume()

    def close_websocket(self) -> None:
        error = self.session.error
        if error is None:
            self.close(1000)
        else:
            self.close(error.close_code, error.code)

    async def on_message(self, message: str | bytes) -> None:
        if not self._disconnected:
            # Tornado reads the next frame when this returns, so one message waits at most.
            await self._incoming.put(message)

    async def receive(self) -> str | bytes | None:
        """Return the next message; None when none will come."""
        if self._disconnected and self._incoming.empty():
            return None
        return await self._incoming.get()

    def _stop_receiving(self) -> None:
        """Discard a message that `on_message` still holds: nobody will take it."""
        self._disconnected = True
        if not self._incoming.empty():
            self._incoming.get_nowait()

    def on_close(self) -> None:
        self._disconnected = True
        if self.get_status() == 101:
            if self.session.id and self.session.socket.upgraded:
                self.session.detach()  # no data after a close frame (RFC 6455 §5.5.1)
            with suppress(asyncio.QueueFull):  # then `receive` does not wait
                self._incoming.put_nowait(None)
        elif self._polling:
            # Its response may be lost with the connection, so the session ends: as in the
            # reference server.
            self.session.abort()
