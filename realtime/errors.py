"""All errors that a client can receive: each has a class, a code, an HTTP status, a close code.

A client receives the code and a message that says what to do: as JSON in an HTTP response, as a
frame or a close reason on an open stream.  The server sends nothing else about an error: no stack
trace, and no 500 for a client's mistake.
"""

import json
import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class RealtimeError(Exception):
    """The base class of all errors that a client can receive.

    `status` is the HTTP status.  `retry_after`, in seconds, becomes a ``Retry-After`` header.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400
    headers: ClassVar[Sequence[tuple[str, str]]] = ()

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after

    @property
    def close_code(self) -> int:
        """The WebSocket close code: 4000 + the HTTP status, so that it is easy to recognize.

        RFC 6455 §7.4.2 reserves 4000-4999 for private use.
        """
        return 4000 + self.status

    @property
    def json(self) -> bytes:
        """The body of an error response: ``{"error":{"code","message"}}``."""
        return json.dumps({"error": {"code": self.code, "message": self.message}}).encode()


# --- 400: the request is malformed -----------------------------------------------------------


class BadJSON(RealtimeError):
    code = "bad_json"


class BadCursor(RealtimeError):
    code = "bad_cursor"


class BadRoom(RealtimeError):
    code = "bad_room"


class BadName(RealtimeError):
    code = "bad_name"


class BadClient(RealtimeError):
    code = "bad_client"


class BadText(RealtimeError):
    code = "bad_text"


class BadId(RealtimeError):
    code = "bad_id"


class BadVia(RealtimeError):
    code = "bad_via"


class BadSent(RealtimeError):
    code = "bad_sent"


class BadWait(RealtimeError):
    code = "bad_wait"


class BadPad(RealtimeError):
    code = "bad_pad"


class BadEncoding(RealtimeError):
    code = "bad_encoding"


class BadLimit(RealtimeError):
    code = "bad_limit"


class BadKeep(RealtimeError):
    code = "bad_keep"


class BadTrace(RealtimeError):
    code = "bad_trace"


class BadDatagrams(RealtimeError):
    code = "bad_datagrams"


class BadNetwork(RealtimeError):
    code = "bad_network"


class BadSeconds(RealtimeError):
    code = "bad_seconds"


class BadPath(RealtimeError):
    code = "bad_path"


class BadFault(RealtimeError):
    code = "bad_fault"


class BadRequest(RealtimeError):
    code = "bad_request"


# --- 401 to 431: the request is well formed, but refused -------------------------------------


class NoTicket(RealtimeError):
    code = "no_ticket"
    status = 401
    headers = (("WWW-Authenticate", "Bearer"),)  # RFC 9110 §15.5.2 requires the field


class BadTicket(RealtimeError):
    """A forged ticket, one that is not valid yet, or something else in the place of a ticket."""

    code = "bad_ticket"
    status = 401
    headers = (("WWW-Authenticate", 'Bearer error="invalid_token"'),)  # RFC 6750 §3.1


class TicketExpired(RealtimeError):
    code = "ticket_expired"
    status = 401
    headers = BadTicket.headers

    @property
    def close_code(self) -> int:
        """Differs from that of `BadTicket`: a client resumes with a new ticket."""
        return 4498


class NotAllowed(RealtimeError):
    code = "not_allowed"
    status = 403


class WrongSecret(RealtimeError):
    code = "wrong_secret"
    status = 403


class Muted(RealtimeError):
    code = "muted"
    status = 403


class Removed(RealtimeError):
    code = "removed"
    status = 403


class RoomLocked(RealtimeError):
    code = "room_locked"
    status = 403


class NameNotApproved(RealtimeError):
    """The lecturer has not approved the name yet: a client may wait for that."""

    code = "name_not_approved"
    status = 403


class ForeignOrigin(RealtimeError):
    code = "foreign_origin"
    status = 403


class ForeignHost(RealtimeError):
    code = "foreign_host"
    status = 403


class LecturersOnly(RealtimeError):
    """A message that only the holder of the lecturer's key may send: a command, for example."""

    code = "lecturers_only"
    status = 403


class BadKey(RealtimeError):
    code = "bad_key"
    status = 403


class NotFound(RealtimeError):
    code = "not_found"
    status = 404


class NoNetwork(RealtimeError):
    """A simulated network that was released, or that expired because nobody used it."""

    code = "no_network"
    status = 404


class BadMethod(RealtimeError):
    code = "bad_method"
    status = 405


class NotAcceptable(RealtimeError):
    """An encoding that the client asks for, and does not accept."""

    code = "not_acceptable"
    status = 406
    headers = (("Vary", "Accept-Encoding"),)


class NotOurs(RealtimeError):
    """A fault for a process that this server did not start."""

    code = "not_ours"
    status = 409


class TargetBusy(RealtimeError):
    """A fault for a part that has one already, or that does not run."""

    code = "target_busy"
    status = 409


class UpgradeRequired(RealtimeError):
    code = "upgrade_required"
    status = 426
    # RFC 9110 §15.5.22 requires `Upgrade`, RFC 6455 §4.4 the version.
    headers = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))


class TooLong(RealtimeError):
    code = "too_long"
    status = 413


class TargetTooLong(RealtimeError):
    code = "target_too_long"
    status = 414


class HeaderTooLong(RealtimeError):
    code = "header_too_long"
    status = 431


# --- 429 and 503: retry later ----------------------------------------------------------------


class TooFast(RealtimeError):
    code = "too_fast"
    status = 429


class Busy(RealtimeError):
    code = "busy"
    status = 503


class NoBroker(RealtimeError):
    """The broker cannot be reached: nothing can be published, but the kept history can be read.

    `full` is true if it can be reached, but has no memory for what we want to store.
    """

    code = "no_broker"
    status = 503
    full = False

    def __init__(self, message: str = "The hub cannot be reached; try again in a moment.") -> None:
        super().__init__(message, retry_after=1)


class Internal(RealtimeError):
    """A failure of the server, and the only error with status 500."""

    code = "internal"
    status = 500

    def __init__(self, message: str = "The server failed; the error has been logged.") -> None:
        super().__init__(message)


# --- closing a connection --------------------------------------------------------------------


class TooSlow(RealtimeError):
    """A request took more than `limits.request_seconds` to arrive."""

    code = "too_slow"
    status = 408


class GoingAway(RealtimeError):
    """The server is stopping.  1012 is "service restart" in the IANA registry of close codes."""

    code = "going_away"
    status = 503

    @property
    def close_code(self) -> int:
        return 1012


# --- the HTTP response ---------------------------------------------------------------------------


class ErrorResponse(NamedTuple):
    """The HTTP response to an error; the caller adds its own headers, such as CORS."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


def error_response(error: RealtimeError, allowed_methods: Sequence[str] = ()) -> ErrorResponse:
    """Build the response for `error`, the same wherever it is raised.

    `allowed_methods` are those of the requested address, for the `Allow` of a 405.
    """
    headers = [("Content-Type", "application/json")]
    if error.retry_after is not None:
        # RFC 9110 §10.2.3 has whole seconds.  0 would mean "at once", and all would retry together.
        headers.append(("Retry-After", str(max(1, math.ceil(error.retry_after)))))
    if isinstance(error, BadMethod):
        headers.append(("Allow", ", ".join(allowed_methods)))  # RFC 9110 §15.5.6
    return ErrorResponse(error.status, [*headers, *error.headers], error.json)
