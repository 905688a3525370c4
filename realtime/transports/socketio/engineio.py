"""Engine.IO: a session per client, carried by polls and posts, by a WebSocket, or by both in turn.

The protocol is python-engineio's.  Here is what it needs among strangers: a door, a reading of what
comes that fails by name, bounds, and an end for each of its tasks.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from engineio import AsyncServer
from engineio.exceptions import EngineIOError
from engineio.packet import Packet
from tornado.httputil import HTTPHeaders

from realtime import errors
from realtime.errors import RealtimeError
from realtime.protocol.http1 import allowed_methods
from realtime.protocol.websocket_frames import text_frame
from realtime.tasks import Supervisor
from realtime.transports.affinity import worker_label
from realtime.transports.base import CORS_HEADERS, PREFLIGHT_HEADERS
from realtime.transports.socketio.session import SEPARATOR, Outbox, Session
from realtime.transports.upgrade import Upgrade

# Seconds that a WebSocket may take to say that it replaces the polls: as in the reference server.
_PROBE_SECONDS = 10.0
# What may come.  A message is one of Socket.IO, which begins with a digit: python-engineio would
# read any other as JSON, at whatever depth.
_POSTED = re.compile(r"[13]|4[0-6].*", re.DOTALL)
_IN_A_FRAME = re.compile(r"[135]|2probe|4[0-6].*", re.DOTALL)
_NO_FIELDS = HTTPHeaders()


class Engine(AsyncServer):  # type: ignore[misc]  # it says no types
    """python-engineio's server, among strangers.

    `most_waiting` bounds the characters of an outbox.  Its tasks end with `end`.
    """

    _async: dict[str, Any]

    def __init__(self, most_waiting: int, **options: Any) -> None:
        super().__init__(**options)
        self._most_waiting = most_waiting
        self._supervisor = Supervisor()
        self._watching = False
        # The driver that comes with it does not wait for a frame to leave, and answers by itself.
        self._async = self._async | {
            "translate_request": lambda environ: environ,
            "make_response": lambda status, headers, body, environ: (int(status[:3]), body),
            "websocket": Channel,
        }

    def create_queue(self, *args: Any, **kwargs: Any) -> Outbox:
        return Outbox(self._most_waiting)

    def start_background_task(self, target: Any, *args: Any, **kwargs: Any) -> None:
        self.spawn(lambda: target(*args, **kwargs))

    async def _handle_connect(self, environ: dict[str, Any], *args: Any) -> Any:
        self._label = worker_label(
            *environ["place"]
        )  # `generate_id` is called before anything waits
        return await super()._handle_connect(environ, *args)

    def generate_id(self) -> str:
        """Make an id that leads a proxy back to here: our label, and 80 bits of chance."""
        return self._label + secrets.token_urlsafe(10)

    def spawn(self, run: Callable[[], Awaitable[None]]) -> None:
        self._supervisor.spawn("engineio", run)

    def watch(self) -> None:
        """See from now on that pings are answered."""
        if not self._watching:
            self._watching = True
            self._supervisor.supervise("watch engineio", self._watch_for_ever)

    async def _watch_for_ever(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self.ping_timeout / 4))
            for socket in list(self.sockets.values()):
                if not socket.closing:
                    await socket.check_ping_timeout()

    async def end(self) -> None:
        await self._supervisor.close()


class Channel:
    """A WebSocket as python-engineio wants it; `run` is what it does with it."""

    def __init__(self, run: "Callable[[Channel], Awaitable[None]]", server: Engine) -> None:
        self._run = run

    async def __call__(self, environ: dict[str, Any]) -> None:
        self._handler: EngineIO = environ["handler"]
        self._session: Session = environ["session"]
        await self._run(self)

    async def close(self) -> None:
        self._handler.part()

    async def send(self, text: str) -> None:
        """Send packets and return when there is room for more; raises `StreamClosedError`."""
        frames = b"".join(text_frame(part.encode()) for part in text.split(SEPARATOR))
        stream = self._handler.stream
        if not stream.push(frames, 0):
            await stream.write(frames)

    async def wait(self) -> str:
        """Give the next packet; raises `OSError` when there is none to come."""
        session = self._session
        try:
            # Until it has replaced the polls, these are answered only to keep them going.
            async with asyncio.timeout(None if session.socket.upgraded else _PROBE_SECONDS):
                text = await self._handler.receive()
        except TimeoutError as error:
            raise OSError from error
        if text is None or session.over or session.error is not None:
            raise OSError
        if not isinstance(text, str) or not _IN_A_FRAME.fullmatch(text):
            session.close(_not_a_packet())
            raise OSError
        return text


class EngineIO(Upgrade):
    """The requests of one session: its handshake, polls and posts, and its WebSocket."""

    engine: Engine
    session: Session

    async def new_session(self) -> Session:
        """Give a session for who asks; raises a named error."""
        raise NotImplementedError

    def known_session(self, id: str) -> Session | None:
        """Give the session of this id."""
        raise NotImplementedError

    # --- requests --------------------------------------------------------------------------------

    def prepare(self) -> None:
        self._body = bytearray()
        self._most = 4 * self.services.limits.body_bytes
        self._incoming: asyncio.Queue[str | bytes | None] = asyncio.Queue(1)
        self._gone = self._polling = False
        self._welcome_sister()
        super().prepare()

    def data_received(self, chunk: bytes) -> None:
        if len(self._body) <= self._most:
            self._body += chunk

    async def get(self) -> None:
        id = self._check_query()
        framed = self._way() == "websocket"
        if framed:
            self.check_upgrade()
        self.session = await self.new_session() if id is None else self._find(id)
        if framed:
            await self._open_channel()
        else:
            await self._answer_poll()

    async def post(self) -> None:
        session = self.session = self._find(self._check_query() or "")
        if session.posting or session.socket.upgraded:
            raise errors.BadRequest("One POST at a time, and none beside a WebSocket.")
        session.posting = True
        try:
            for packet in self._packets():
                if session.error is None:
                    await session.socket.receive(packet)
        finally:
            session.posting = False
        if session.error is not None:
            raise session.error
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish("ok")

    def options(self) -> None:
        """Answer what a browser asks before it sends fields of a page to another port."""
        if self.cors_origin is None:
            raise errors.BadMethod("This address does not take that method; see `Allow`.")
        self.set_status(204)
        self.clear_header("Content-Type")
        self.set_header("Access-Control-Allow-Methods", ", ".join(allowed_methods(type(self))))
        for name, value in PREFLIGHT_HEADERS.items():
            self.set_header(name, value)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self._welcome_sister()
        super().write_error(status_code, **kwargs)

    def _welcome_sister(self) -> None:
        if self.cors_origin is not None:
            self.set_header("Access-Control-Allow-Origin", self.cors_origin)
            for name, value in CORS_HEADERS.items():
                self.set_header(name, value)

    def _way(self) -> str:
        return self.argument("transport", errors.BadRequest) or "polling"

    def _check_query(self) -> str | None:
        """Check what Engine.IO puts into a query; give the session's id, None for a new one."""
        if "j" in self.arguments:
            # A script tag sends no Origin, so any page could read its answer.
            raise errors.BadRequest("JSONP is not spoken here.")
        if self._way() not in ("polling", "websocket"):
            raise errors.BadRequest("`transport` is `polling` or `websocket`.")
        id = self.argument("sid", errors.BadRequest)
        if id is None and self.argument("EIO", errors.BadRequest) != "4":
            raise errors.BadRequest("This is Engine.IO 4: use a client of Socket.IO 3 or 4.")
        return id

    def _find(self, id: str) -> Session:
        session = self.known_session(id)
        if session is None or session.over or session.address != self.stream.address:
            raise errors.BadRequest("There is no such session; begin a new one.")
        return session

    def _packets(self) -> list[Packet]:
        if len(self._body) > self._most:
            raise errors.TooLong(f"A payload is at most {self._most} bytes.")
        try:
            parts = self._body.decode("utf-8").split(SEPARATOR)
        except UnicodeDecodeError:
            parts = [""]
        if not all(map(_POSTED.fullmatch, parts)):
            self.session.close(_not_a_packet())
            return []
        return [Packet(encoded_packet=part) for part in parts]

    # --- a poll ----------------------------------------------------------------------------------

    async def _answer_poll(self) -> None:
        session = self.session
        if session.poll is not None or (session.id and session.socket.upgraded):
            raise errors.BadRequest("One poll at a time, and none beside a WebSocket.")
        session.poll, self._polling = self, True
        try:
            status, payload = await self.engine.handle_request(self._environ("polling"))
        finally:
            session.poll, self._polling = None, False
        if status != 200:
            raise errors.BadRequest("The session has ended; begin a new one.")
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(payload)

    def _environ(self, way: str) -> dict[str, Any]:
        """Say what python-engineio wants to know, as WSGI would."""
        id = self.session.id
        environ = {
            "REQUEST_METHOD": "GET",
            "QUERY_STRING": f"EIO=4&transport={way}" + (f"&sid={id}" if id else ""),
            "session": self.session,
            "place": self.stream.local_address,
        }
        if way == "websocket":
            # It looks here whether to upgrade: a poll must not look as if it did.
            environ |= {"HTTP_CONNECTION": "upgrade", "HTTP_UPGRADE": way, "handler": self}
        return environ

    # --- a WebSocket -----------------------------------------------------------------------------

    async def _open_channel(self) -> None:
        session = self.session
        if session.channel is not None:
            raise errors.BadRequest("One WebSocket at a time.")
        session.channel = self
        try:
            await self.upgrade()
        finally:
            if self.get_status() != 101:
                session.channel = None

    def open(self) -> None:
        # Of no more use, and with a browser's head some three kilobytes.
        self.request.headers = _NO_FIELDS
        self.request.connection = None
        self.stream.drained = self.session.resume
        self.engine.spawn(self._serve_channel)

    async def _serve_channel(self) -> None:
        session = self.session
        try:
            # It may vanish in any step of a probe.
            with suppress(OSError, EngineIOError):
                await self.engine.handle_request(self._environ("websocket"))
        finally:
            self._stop_listening()
            self.stream.drained = None
            session.channel = None
            self.part()
            if session.socket.upgraded:
                await session.socket.close(wait=False, abort=True)
            else:
                session.socket.upgrading = False
                session.resume()

    def part(self) -> None:
        error = self.session.error
        if error is None:
            self.close(1000)
        else:
            self.close(error.close_code, error.code)

    async def on_message(self, message: str | bytes) -> None:
        if not self._gone:
            await self._incoming.put(message)  # Tornado reads the next frame when this is done

    async def receive(self) -> str | bytes | None:
        """Give the next message; None when there will be none."""
        if self._gone and self._incoming.empty():
            return None
        return await self._incoming.get()

    def _stop_listening(self) -> None:
        """Let go whoever waits to hand on a message: nobody takes it."""
        self._gone = True
        if not self._incoming.empty():
            self._incoming.get_nowait()

    def on_close(self) -> None:
        self._gone = True
        if self.get_status() == 101:
            with suppress(asyncio.QueueFull):  # then it is not waited for
                self._incoming.put_nowait(None)
        elif self._polling:
            # What it would have been told may be lost with it: as in the reference server.
            self.session.lose()


def _not_a_packet() -> RealtimeError:
    return errors.BadRequest("That is no packet of Engine.IO 4 with text in it.")
