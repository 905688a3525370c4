"""What is the same for every transport, by name: the door, the question, the answer, the stream.

A transport is a Tornado handler that owns one reader or one follower, and one pure function
`frame(event) -> bytes`.  Its file shows only what makes it different; the steps it names are here.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, stream_request_body

from realtime import errors, metrics
from realtime.audience import Audience, Framing
from realtime.errors import RealtimeError
from realtime.events import (
    Cursor,
    Draft,
    Event,
    Member,
    Receipt,
    parse_client,
    parse_name,
    parse_room,
)
from realtime.gate import Gate
from realtime.hub import After, Answer, Hub
from realtime.limits import Limits
from realtime.presence import Presence

# A reader without a cursor is shown this much of what was said before.
GREETING_EVENTS = 50
# One that says `after=now` is shown nothing of it.
NOW = 0
# A body that is too long, or that nobody wants, is read to its end and dropped, up to here, so that
# the sender hears why: one that is still sending when we close would only see a reset.
_MOST_DROPPED = 1_048_576


class Stream(Protocol):
    """A connection, as `wire` gives it: an IOStream that counts and can be pushed to."""

    events: int

    def carry(self, transport: str, client: str | None) -> None: ...
    def rest(self) -> None: ...
    def push(self, data: bytes, events: int) -> bool: ...
    def write(self, data: bytes) -> "asyncio.Future[None]": ...
    def writing(self) -> bool: ...
    def closed(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class House:
    """What every handler may use: the rooms, the people, the door, and the numbers."""

    hub: Hub
    presence: Presence
    gate: Gate
    limits: Limits


@dataclass(frozen=True, slots=True)
class Question:
    """What a reader asks: which room, from where on, and as whom."""

    room: str
    after: After
    member: Member | None


# --- every handler -------------------------------------------------------------------------------


@stream_request_body
class Handler(RequestHandler):
    """A guarded and counted request, answered in JSON.

    `transport` names the row under which its bytes are counted.  A body is dropped as it comes,
    except where a handler keeps it.
    """

    transport: str
    _counted = False

    def initialize(self, house: House) -> None:
        self.house = house
        # Kept, since a WebSocket takes the stream away from its request.
        self.stream = cast(Stream, self.request.connection.stream)  # type: ignore[union-attr]
        self.request.connection.set_max_body_size(_MOST_DROPPED)  # type: ignore[union-attr]

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def prepare(self) -> None:
        self.count(self._client_for_the_books())
        self.check_door()
        self.check_length()
        self.part_if_closing()

    def part_if_closing(self) -> None:
        """While the server drains, let this answer be the last on its connection."""
        if self.house.hub.closing:
            self.set_header("Connection", "close")

    def check_door(self) -> None:
        """Refuse names that are not ours, and pages of other sites."""
        head, gate = self.request.headers, self.house.gate
        gate.check_host(head.get("Host"))
        gate.check_origin(head.get("Origin"), head.get("Host"), head.get("Sec-Fetch-Site"))

    def check_length(self) -> None:
        """Refuse a body that is too long even to be dropped."""
        length = self.request.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > _MOST_DROPPED:
            raise errors.TooLong(f"A body is at most {self.house.limits.body_bytes} bytes.")

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return None

    def count(self, client: str | None) -> None:
        """Enter this request in the books, once."""
        if not self._counted:
            self._counted = True
            self.stream.carry(self.transport, client)

    def on_finish(self) -> None:
        self.stream.rest()

    def compute_etag(self) -> None:
        """Spare a hash of every answer: nothing here may be cached."""

    def _client_for_the_books(self) -> str | None:
        try:
            return parse_client(self.argument("client", errors.BadClient))
        except RealtimeError:
            return None

    # --- errors ----------------------------------------------------------------------------------

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise errors.BadRoom("A name in a URL must be percent-encoded UTF-8.") from error

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        if self._headers_written:
            # There is one head to an answer; all that can be told now is its end.
            if not self._finished:
                self.finish()
        elif not self.stream.closed():
            super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer the one JSON shape of all errors; Tornado calls this for whatever was raised."""
        self.count(None)
        _, cause, _ = kwargs.get("exc_info", (None, None, None))
        error = _as_realtime_error(status_code, cause)
        metrics.REFUSED.labels(error.code).inc()
        self.part_if_closing()
        self.set_status(error.status)
        self.set_header("Content-Type", "application/json")
        if error.retry_after is not None:
            self.set_header("Retry-After", str(math.ceil(error.retry_after)))
        if isinstance(error, errors.BadMethod):
            self.set_header("Allow", ", ".join(self._methods()))  # RFC 9110 §15.5.6
        self.finish(error.json)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        # A client's mistake and one that went away are no news, and not theirs to write; what is
        # cancelled is so at our own end.
        quiet = RealtimeError | StreamClosedError | HTTPError | asyncio.CancelledError
        if not isinstance(value, quiet):
            super().log_exception(typ, value, tb)

    def _methods(self) -> list[str]:
        default = RequestHandler._unimplemented_method
        return [m for m in self.SUPPORTED_METHODS if getattr(type(self), m.lower()) != default]

    # --- the question ----------------------------------------------------------------------------

    def argument(self, name: str, error: type[RealtimeError]) -> str | None:
        """The last `name` in the query, None if empty or absent; raises `error` if not UTF-8."""
        values = self.request.query_arguments.get(name)
        try:
            return values[-1].decode("utf-8") or None if values else None
        except UnicodeDecodeError as cause:
            raise error(f"`{name}` must be percent-encoded UTF-8.") from cause

    def number(self, name: str, default: float, most: float, error: type[RealtimeError]) -> float:
        """A number from 0 to `most` in the query; raises `error`."""
        text = self.argument(name, error)
        try:
            value = default if text is None else float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= most:
            raise error(f"`{name}` is a number from 0 to {most:g}.")
        return value

    def question(self, room: str, resume: str | None = None) -> Question:
        """Read ``?after=&client=&name=``, which all ways down share; `resume` wins over `after`."""
        client = self.argument("client", errors.BadClient)
        name = self.argument("name", errors.BadName)
        if client is not None:
            parse_client(client)
        if name is not None:
            parse_name(name, self.house.limits)
        member = Member(client, name, self.transport) if client and name else None
        after = resume or self.argument("after", errors.BadCursor)
        return Question(parse_room(room), _parse_after(after), member)

    @asynccontextmanager
    async def visit(self, question: Question, linger: float) -> AsyncIterator[None]:
        """Be a member of the room meanwhile, and `linger` seconds longer."""
        if question.member is None:
            yield
            return
        try:
            await self.house.presence.arrive(question.room, question.member)
            yield
        finally:
            self.house.presence.depart(question.room, question.member, linger)

    # --- the message -----------------------------------------------------------------------------

    async def say(self, draft: Draft) -> Receipt:
        """Publish, at a bearable rate: per client, or per address for one that has no name."""
        sender = draft.client or self.request.remote_ip or ""
        self.house.gate.admit(sender, asyncio.get_running_loop().time())
        return await self.house.hub.publish(draft)

    # --- the answer ------------------------------------------------------------------------------

    def answer(self, answer: Answer) -> None:
        """Finish a poll."""
        self.part_if_closing()
        self.stream.events += answer.events
        self.set_header("Content-Type", "application/json")
        self.finish(answer.body)


def _parse_after(text: str | None) -> After:
    if text is None:
        return GREETING_EVENTS
    return NOW if text == "now" else Cursor.parse(text)


def _as_realtime_error(status: int, error: BaseException | None) -> RealtimeError:
    if isinstance(error, RealtimeError):
        return error
    if isinstance(error, HTTPError) and status in (403, 404):  # 403: a path out of the pages
        return errors.NotFound("There is nothing at this address; see the table in the README.")
    if isinstance(error, HTTPError) and status == 405:
        return errors.BadMethod("This address does not take that method; see `Allow`.")
    if isinstance(error, HTTPError):
        return errors.BadRequest("The request cannot be understood.")
    return errors.Internal("The server made a mistake; it has been logged.")


# --- the streams ---------------------------------------------------------------------------------


class StreamFollower:
    """A follower on a connection: pushes, and asks for more when what waited has left.

    `close` ends the stream in the transport's own way, with the error that ended it.
    """

    audience: Audience

    def __init__(
        self,
        stream: Stream,
        framing: Framing,
        close: Callable[[RealtimeError], None],
    ) -> None:
        self.framing = framing
        self.close = close
        self._stream = stream
        self._draining = False

    def push(self, frames: bytes, events: int) -> bool:
        taken = self._stream.push(frames, events)
        if not self._draining and self._stream.writing():
            self._draining = True
            # A write of nothing is done when all that was written before it is.
            self._stream.write(b"").add_done_callback(self._drained)
        return taken

    def leave(self) -> None:
        self.audience.leave(self)

    def _drained(self, written: "asyncio.Future[None]") -> None:
        self._draining = False
        if not written.cancelled() and written.exception() is None:
            self.audience.resume(self)


class StreamHandler(Handler):
    """An answer that never ends: one HTTP response, its body written as things happen."""

    async def begin(self, content_type: str, opening: bytes) -> None:
        """Send the head, so that the client knows that it is being served."""
        self.set_header("Content-Type", content_type)
        self.set_header("X-Accel-Buffering", "no")  # nginx would collect 4-8 KB first
        if not self._chunked:
            # RFC 9112 §6.3: without length and chunks, the end of the connection ends the body.
            self.set_header("Connection", "close")
        if opening:
            self.write(opening)
        await self.flush()

    async def stream_events(
        self,
        question: Question,
        frame: Callable[[Event], bytes],
        heartbeat: bytes,
        *,
        content_type: str,
        opening: Callable[[Cursor], bytes] = lambda cursor: b"",
        farewell: Callable[[RealtimeError], bytes] | None = None,
    ) -> None:
        """Push the room's events until either side ends; `heartbeat` breaks a long silence.

        `opening` is the first of the body; `farewell` its last, when it is ours to end it.
        """
        # Asked first, so that an error still has a status of its own.
        self.house.hub.check_open()
        reader = await self.house.hub.read(question.room, question.after)
        envelope = chunk if self._chunked else bytes
        limits = self.house.limits
        self._ended: asyncio.Future[RealtimeError | None] = (
            asyncio.get_running_loop().create_future()
        )
        follower = StreamFollower(self.stream, Framing(frame, envelope), self._end)
        async with self.visit(question, limits.grace_seconds):
            await self.begin(content_type, opening(reader.cursor))
            follower.audience = await self.house.hub.follow(question.room, reader.cursor, follower)
            try:
                await self._beat(follower, envelope(heartbeat))
                if farewell and (error := self._ended.result()):
                    follower.push(envelope(farewell(error)), 0)
            finally:
                follower.leave()

    async def _beat(self, follower: StreamFollower, heartbeat: bytes) -> None:
        """Return when the stream has ended."""
        seconds = self.house.limits.heartbeat_seconds
        while not (await asyncio.wait([self._ended], timeout=seconds))[0]:
            follower.push(heartbeat, 0)

    @property
    def _chunked(self) -> bool:
        return self.request.version != "HTTP/1.0"

    def _end(self, error: RealtimeError | None) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if hasattr(self, "_ended"):
            self._end(None)


def chunk(data: bytes) -> bytes:
    """Wrap `data` as one chunk of an HTTP/1.1 body (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)
