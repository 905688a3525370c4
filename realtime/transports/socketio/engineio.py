"""The Engine.IO server: a session per client, over polls, then a WebSocket, or one of the two.

python-engineio implements the protocol.  Its defaults assume friendly clients; here are limits,
session ids that a proxy can route by, and an owner for each of its tasks.  Every request passes
through `engineio_handler` first, which checks it.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from engineio import AsyncServer
from tornado.iostream import StreamClosedError

from realtime import errors
from realtime.errors import RealtimeError
from realtime.protocol.websocket_frames import text_frame
from realtime.tasks import Supervisor
from realtime.transports.affinity import worker_label
from realtime.transports.socketio.session import (
    SEPARATOR,
    AttachedConnection,
    EngineIOSession,
    SendQueue,
)

# Seconds in which a new WebSocket must replace the polls: the same as in the reference server.
_UPGRADE_SECONDS = 10.0
# The packets a client may send.  A message is a Socket.IO packet, which starts with a digit:
# python-engineio would parse anything else as JSON, to any depth.
POSTED_PACKET = re.compile(r"[13]|4[0-6].*", re.DOTALL)
_FRAMED_PACKET = re.compile(r"[135]|2probe|4[0-6].*", re.DOTALL)


class EngineIOServer(AsyncServer):  # type: ignore[misc]  # the package has no types
    """python-engineio's server, for clients that nobody trusts.

    `max_queued` limits the characters in a session's send queue.  `stop_tasks` ends all its tasks.
    """

    _async: dict[str, Any]

    def __init__(self, max_queued: int, **options: Any) -> None:
        super().__init__(**options)
        self._max_queued = max_queued
        self._supervisor = Supervisor()
        self._monitors_pings = False
        # The package's own Tornado driver does not wait until a frame is sent, and writes the
        # response itself.
        self._async = self._async | {
            "translate_request": lambda environ: environ,
            "make_response": lambda status, headers, body, environ: (int(status[:3]), body),
            "websocket": WebSocketAdapter,
        }

    def create_queue(self, *args: Any, **kwargs: Any) -> SendQueue:
        return SendQueue(self._max_queued)

    def start_background_task(self, target: Any, *args: Any, **kwargs: Any) -> None:
        self.spawn(lambda: target(*args, **kwargs))

    async def _handle_connect(self, environ: dict[str, Any], *args: Any) -> Any:
        # `super` calls `generate_id` before it waits for anything.
        self._label = worker_label(*environ["local_address"])
        return await super()._handle_connect(environ, *args)

    def generate_id(self) -> str:
        """Return a session id: the label that a proxy routes by, and 80 random bits."""
        return self._label + secrets.token_urlsafe(10)

    def spawn(self, run: Callable[[], Awaitable[None]]) -> None:
        self._supervisor.spawn("engineio", run)

    def monitor_pings(self) -> None:
        """Start to close sessions that do not answer a ping; further calls do nothing."""
        if not self._monitors_pings:
            self._monitors_pings = True
            self._supervisor.supervise("watch engineio", self._monitor_pings)

    async def _monitor_pings(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self.ping_timeout / 4))
            for socket in list(self.sockets.values()):
                if not socket.closing:
                    await socket.check_ping_timeout()

    async def stop_tasks(self) -> None:
        await self._supervisor.close()


class EngineIOWebSocket(AttachedConnection, Protocol):
    """The part of `EngineIOHandler` that `WebSocketAdapter` uses."""

    @property
    def ws_connection(self) -> object: ...  # None after a close frame
    async def receive(self) -> str | bytes | None: ...
    def close_websocket(self) -> None: ...


class WebSocketAdapter:
    """A WebSocket with the interface that python-engineio expects; `run` is its loop over it."""

    def __init__(
        self, run: "Callable[[WebSocketAdapter], Awaitable[None]]", server: EngineIOServer
    ) -> None:
        self._run = run

    async def __call__(self, environ: dict[str, Any]) -> None:
        self._handler: EngineIOWebSocket = environ["handler"]
        self._session: EngineIOSession = environ["session"]
        await self._run(self)

    async def close(self) -> None:
        self._handler.close_websocket()

    async def send(self, text: str) -> None:
        """Send packets; return when the next can be sent.  Raises `StreamClosedError`."""
        if self._handler.ws_connection is None:  # no data after a close frame (RFC 6455 §5.5.1)
            raise StreamClosedError
        frames = b"".join(text_frame(part.encode()) for part in text.split(SEPARATOR))
        stream = self._handler.stream
        if not stream.push(frames, 0):
            await stream.write(frames)

    async def wait(self) -> str:
        """Return the next packet; raises `OSError` when none will come."""
        session = self._session
        try:
            # Until the WebSocket has replaced the polls, they return only NOOP packets.
            async with asyncio.timeout(None if session.socket.upgraded else _UPGRADE_SECONDS):
                text = await self._handler.receive()
        except TimeoutError as error:
            raise OSError from error
        if text is None or session.closed or session.error is not None:
            raise OSError
        if not isinstance(text, str) or not _FRAMED_PACKET.fullmatch(text):
            session.close(bad_packet())
            raise OSError
        return text


def bad_packet() -> RealtimeError:
    return errors.BadRequest("This is not a text packet that Engine.IO 4 allows here.")
