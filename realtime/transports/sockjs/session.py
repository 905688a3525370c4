"""A SockJS session: the server's side of one client, over one connection after another.

Messages that wait for the next connection are in its queue, which has a limit.  A session that
exceeds the limit, or whose client does not read, is closed with a code that says so.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sockjs.tornado.session import CLOSED, CONNECTING, OPEN, BaseSession, Session
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError

from realtime.transports.sockjs import framing
from realtime.transports.sockjs.interfaces import Receiver, SessionRegistry

log = logging.getLogger(__name__)

# Close codes: RFC 6455 defines 1011; our own are 4000 + an HTTP status.
FAILED = 1011
REFUSED = 4403
TOO_SLOW = 4408


class HardenedSession(Session):  # type: ignore[misc]
    """A session with a limited queue, which always sends the reason when it closes.

    `drained`, if set, is called when `try_send` may succeed again.
    """

    server: SessionRegistry
    handler: Receiver | None
    state: int
    transport_name: str | None = None

    def __init__(self, conn: Any, server: SessionRegistry, session_id: str, expiry: float) -> None:
        super().__init__(conn, server, session_id, expiry)
        # One JSON text per message; the package appends to one long string, which costs O(n²).
        self.send_queue: list[str] = []
        self.drained: Callable[[], None] | None = None
        self._queued = 0  # characters
        self._receive_lock = asyncio.Lock()  # messages are handled one after the other
        self._heartbeat_handle: asyncio.TimerHandle | None = None
        self._address = ""

    # --- open and close --------------------------------------------------------------------------

    def set_handler(self, handler: Receiver, start_heartbeat: bool = True) -> bool:
        if self.is_closed and self.handler is None:
            # Messages that were sent before the close go first, on whichever connection comes.
            if self.send_queue:
                self._flush_to(handler)
                if not handler.streams:
                    return False
            handler.send_frame(framing.close(*self.get_close_reason()))
            return False
        first_transport = self.transport_name
        if not super().set_handler(handler, False):
            return False
        # The package counts an open session under its first transport and a closed one under its
        # last.  If they differ, its counter raises KeyError, and the client is not disconnected.
        self.transport_name = first_transport or self.transport_name
        if handler.streams:
            self.start_heartbeat()
            handler.stream.drained = self.notify_drained
        self.notify_drained()
        return True

    def remove_handler(self, handler: Receiver) -> None:
        super().remove_handler(handler)
        if handler.streams:
            handler.stream.drained = None

    def verify_state(self) -> None:
        """Open a new session; if its connection refuses, close it and send the reason."""
        if self.state != CONNECTING:
            return
        assert self.handler is not None
        self.state = OPEN
        self._address = self.conn_info.ip
        self.server.session_opened(self, self._address)
        self.handler.send_frame(framing.OPEN)
        try:
            result = self.conn.on_open(self.conn_info)
        except Exception as error:
            self._close_with_error(error)
            return
        if inspect.isawaitable(result):
            self.server.spawn(self._finish_opening(result))
        elif result is False:
            self.close(REFUSED, "Refused")

    async def _finish_opening(self, opening: Awaitable[Any]) -> None:
        async with self._receive_lock:
            try:
                if await opening is False:
                    self.close(REFUSED, "Refused")
            except Exception as error:
                self._close_with_error(error)

    def _close_with_error(self, error: Exception) -> None:
        if isinstance(error, HTTPError):
            self.close(4000 + error.status_code, error.reason or "Refused")
        else:
            log.error("a connection failed", exc_info=error)
            self.close(FAILED, "The server made a mistake")

    def close(self, code: int = 3000, message: str = "Go away!") -> None:
        """Send what is queued, then the reason, now or with the next poll; then close."""
        if self.state == CLOSED:
            return
        handler = self.handler
        if handler is not None and (handler.active or handler.streams):
            if self.send_queue:
                self._flush_to(handler)
            if handler.active or handler.streams:  # a poll has one response, perhaps used already
                handler.send_frame(framing.close(code, message))
        self.stop_heartbeat()
        self.drained = None
        was_open = self.state != CONNECTING
        BaseSession.close(self, code, message)
        if was_open:
            self.server.session_closed(self, self._address)

    def abort(self, code: int, message: str) -> None:
        """Close the session of a client that does not read: a close frame would wait as well."""
        handler, self.handler = self.handler, None
        self._clear_queue()
        self.close(code, message)
        if handler is not None:
            handler.drop()

    # --- down ------------------------------------------------------------------------------------

    def send_message(self, msg: Any, stats: bool = True, binary: bool = False) -> None:
        self.send_jsonified(framing.encode(msg.decode() if isinstance(msg, bytes) else msg), stats)

    def send_jsonified(self, msg: str, stats: bool = True) -> None:
        if self.is_closed:
            return
        self.send_queue.append(msg)
        self._queued += len(msg)
        if stats:
            self.stats.on_pack_sent(1)
        self.flush()
        if self._queued > self.server.settings["queue_bytes"]:
            self.abort(TOO_SLOW, "The client reads too slowly")

    def flush(self) -> None:
        """Send the queue if a connection can take it; if it is empty, call `drained`."""
        if self.handler is None or not self.handler.active:
            return
        if self.send_queue:
            self._flush_to(self.handler)
        else:
            self.notify_drained()

    def _flush_to(self, handler: Receiver) -> None:
        queue = list(self.send_queue)
        self._clear_queue()
        handler.send_messages(queue)

    def _clear_queue(self) -> None:
        self.send_queue.clear()
        self._queued = 0

    def try_send(self, frame: bytes, events: int) -> bool:
        """Send a whole frame now, or return False; nothing is queued here.

        The connection must be a stream of `realtime.server.stream`, which counts `events`.
        """
        if self.handler is None or not self.handler.active:
            return False
        return self.handler.push_frame(frame, events)

    def notify_drained(self) -> None:
        if self.drained is not None:
            self.drained()

    # --- the heartbeat ---------------------------------------------------------------------------

    def start_heartbeat(self) -> None:
        """Send heartbeats from now on.  The package's own timers keep running when stopped."""
        self.stop_heartbeat()
        delay = self.server.settings["heartbeat_delay"]
        loop = asyncio.get_running_loop()
        self._heartbeat_handle = loop.call_later(delay, self._heartbeat)

    def stop_heartbeat(self) -> None:
        if self._heartbeat_handle is not None:
            self._heartbeat_handle.cancel()
            self._heartbeat_handle = None

    def _heartbeat(self) -> None:
        self._heartbeat_handle = None
        if self.handler is None:
            return
        try:
            sent = self.handler.send_heartbeat()
        except StreamClosedError:  # nobody has noticed yet
            sent = False
        if not sent:
            self.abort(TOO_SLOW, "The client does not read heartbeats")
        elif self.handler is not None:
            self.start_heartbeat()

    # --- up --------------------------------------------------------------------------------------

    async def receive(self, batch: Sequence[str]) -> None:
        """Pass messages to the connection in order; each waits until the last is handled."""
        async with self._receive_lock:
            self.stats.on_pack_recv(len(batch))
            for message in batch:
                if self.state != OPEN:
                    return
                try:
                    result = self.conn.on_message(message)
                    if inspect.isawaitable(result):
                        await result
                    await asyncio.sleep(0)  # a batch can contain a thousand messages
                except Exception as error:
                    log.error("a connection failed", exc_info=error)
                    self.close(FAILED, "The server made a mistake")
