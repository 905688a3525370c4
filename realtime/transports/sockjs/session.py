"""A session: one client's pipe, over one connection after another, with a bounded queue."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sockjs.tornado.session import CLOSED, CONNECTING, OPEN, BaseSession, Session
from tornado.web import HTTPError

from realtime.transports.sockjs import framing
from realtime.transports.sockjs.interfaces import Keeper, Receiver

log = logging.getLogger(__name__)

# Close codes: of RFC 6455, and 4000 + an HTTP status for what is ours to say.
FAILED = 1011
REFUSED = 4403
TOO_SLOW = 4408


class HardenedSession(Session):  # type: ignore[misc]
    """A session whose queue is bounded, and whose every ending is told.

    `writable`, if set, is called when `offer` may be tried again.
    """

    server: Keeper
    handler: Receiver | None
    state: int

    def __init__(self, conn: Any, server: Keeper, session_id: str, expiry: float) -> None:
        super().__init__(conn, server, session_id, expiry)
        # Of JSON, one for each message; the package would build one long string, in O(n²).
        self.send_queue: list[str] = []
        self.writable: Callable[[], None] | None = None
        self._queued = 0  # characters
        self._turn = asyncio.Lock()  # messages are heard one after the other
        self._beat_at: asyncio.TimerHandle | None = None
        self._address = ""

    # --- coming and going ------------------------------------------------------------------------

    def set_handler(self, handler: Receiver, start_heartbeat: bool = True) -> bool:
        if self.is_closed and self.handler is None:
            # What was said before the end comes first, whichever connection it takes.
            if self.send_queue:
                self._flush_to(handler)
                if not handler.streams:
                    return False
            handler.send_frame(framing.close(*self.get_close_reason()))
            return False
        if not super().set_handler(handler, False):
            return False
        if handler.streams:
            self.start_heartbeat()
            handler.stream.drained = self.tell_writable
        self.tell_writable()
        return True

    def remove_handler(self, handler: Receiver) -> None:
        super().remove_handler(handler)
        if handler.streams:
            handler.stream.drained = None

    def verify_state(self) -> None:
        """Open the session, if it is new; a connection that refuses is closed, and told so."""
        if self.state != CONNECTING:
            return
        assert self.handler is not None
        self.state = OPEN
        self._address = self.conn_info.ip
        self.server.opened(self, self._address)
        self.handler.send_frame(framing.OPEN)
        try:
            answer = self.conn.on_open(self.conn_info)
        except Exception as error:
            self._refuse(error)
            return
        if inspect.isawaitable(answer):
            self.server.spawn(self._finish_opening(answer))
        elif answer is False:
            self.close(REFUSED, "Refused")

    async def _finish_opening(self, opening: Awaitable[Any]) -> None:
        async with self._turn:
            try:
                if await opening is False:
                    self.close(REFUSED, "Refused")
            except Exception as error:
                self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        if isinstance(error, HTTPError):
            self.close(4000 + error.status_code, error.reason or "Refused")
        else:
            log.error("a connection failed", exc_info=error)
            self.close(FAILED, "The server made a mistake")

    def close(self, code: int = 3000, message: str = "Go away!") -> None:
        """End the session: first what was said, then why it ends; now, or at the next poll."""
        if self.state == CLOSED:
            return
        handler = self.handler
        if handler is not None and (handler.active or handler.streams):
            if self.send_queue:
                self._flush_to(handler)
            if handler.active or handler.streams:  # a poll has one answer, and may have given it
                handler.send_frame(framing.close(code, message))
        self.stop_heartbeat()
        self.writable = None
        was_open = self.state != CONNECTING
        BaseSession.close(self, code, message)
        if was_open:
            self.server.closed(self, self._address)

    def abort(self, code: int, message: str) -> None:
        """End the session of one who takes nothing: whatever could be said would wait as well."""
        handler, self.handler = self.handler, None
        self._empty()
        self.close(code, message)
        if handler is not None:
            handler.abandon()

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
            self.abort(TOO_SLOW, "Too much waits to be read")

    def flush(self) -> None:
        """Send what waits, if somebody is there to take it; else let `offer` be tried."""
        if self.handler is None or not self.handler.active:
            return
        if self.send_queue:
            self._flush_to(self.handler)
        else:
            self.tell_writable()

    def _flush_to(self, handler: Receiver) -> None:
        queue = list(self.send_queue)
        self._empty()
        handler.send_messages(queue)

    def _empty(self) -> None:
        self.send_queue.clear()
        self._queued = 0

    def offer(self, frame: bytes, events: int) -> bool:
        """Send a whole frame now, or not at all: nothing of it is ever queued here.

        It needs a connection of `realtime.wire`, and counts as so many `events` there.
        """
        if self.handler is None or not self.handler.active:
            return False
        return self.handler.push_frame(frame, events)

    def tell_writable(self) -> None:
        if self.writable is not None:
            self.writable()

    # --- the heartbeat ---------------------------------------------------------------------------

    def start_heartbeat(self) -> None:
        """Break the silence from now on; the package's timers live on when they are stopped."""
        self.stop_heartbeat()
        delay = self.server.settings["heartbeat_delay"]
        self._beat_at = asyncio.get_running_loop().call_later(delay, self._heartbeat)

    def stop_heartbeat(self) -> None:
        if self._beat_at is not None:
            self._beat_at.cancel()
            self._beat_at = None

    def _heartbeat(self) -> None:
        self._beat_at = None
        if self.handler is None:
            return
        if not self.handler.beat():
            self.abort(TOO_SLOW, "A heartbeat was not taken")
        elif self.handler is not None:
            self.start_heartbeat()

    # --- up --------------------------------------------------------------------------------------

    async def receive(self, batch: Sequence[str]) -> None:
        """Let the connection hear messages in their order, each when it is done with the last."""
        async with self._turn:
            self.stats.on_pack_recv(len(batch))
            for message in batch:
                if self.state != OPEN:
                    return
                try:
                    answer = self.conn.on_message(message)
                    if inspect.isawaitable(answer):
                        await answer
                except Exception as error:
                    log.error("a connection failed", exc_info=error)
                    self.close(FAILED, "The server made a mistake")
