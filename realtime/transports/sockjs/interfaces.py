"""The interfaces between router, sessions and handlers.

    router  ── implements ─▶ SessionRegistry ◀── uses ── session
            ── implements ─▶ RouterProtocol  ◀── uses ── handlers
    handler ── extends ────▶ Receiver        ◀── uses ── session

With them, these files need not import each other.
"""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from realtime.transports.sockjs import framing


class SessionRegistry(Protocol):
    """What a session needs from the router: the settings, and a place to register."""

    settings: Mapping[str, Any]

    def session_opened(self, session: Any, address: str) -> None: ...
    def session_closed(self, session: Any, address: str) -> None: ...
    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...


class RouterProtocol(SessionRegistry, Protocol):
    """What a handler needs from the router: admission, errors, sessions; see its implementation.

    `HardenedSockJSRouter` is that implementation.
    """

    stats: Any
    cacheable_iframe: bool
    websockets_enabled: bool
    cookie_needed: bool

    def acquire(self, handler: Any) -> None: ...
    def request_finished(self, handler: Any) -> None: ...
    def send_error(self, handler: Any, status: int, error: BaseException | None) -> None: ...
    def is_expected(self, error: BaseException | None) -> bool: ...
    def allowed_origin(self, head: Mapping[str, str]) -> str | None: ...
    def frame_ancestors(self, head: Mapping[str, str]) -> str: ...
    def check_capacity(self, session_id: str, address: str | None) -> None: ...
    def create_session(self, session_id: str, register: bool = True) -> Any: ...
    def session_for_sender(self, session_id: str, address: str | None) -> Any: ...
    def within_limits(self, batch: list[str]) -> bool: ...


class Receiver:
    """The connection on which a session can send frames to its client at the moment.

    `streams` is true if it takes more than one frame.  `active` is true if it takes a frame now.
    """

    streams: ClassVar[bool]
    active: bool
    session: Any  # or None
    stream: Any

    def wrap(self, frame: bytes) -> bytes:
        """Put a frame in the envelope of this transport."""
        raise NotImplementedError

    def send_frame(self, frame: bytes) -> None:
        """Send one frame; it waits behind whatever is not written yet."""
        raise NotImplementedError

    def push_frame(self, frame: bytes, events: int) -> bool:
        """Send one frame with `events` in it, or nothing while an older one waits."""
        raise NotImplementedError

    def send_messages(self, encoded: Sequence[str]) -> None:
        self.send_frame(framing.messages(encoded))

    def send_pack(self, message: str, binary: bool = False) -> None:
        """Send a frame that the package has put together."""
        self.send_frame(message.encode())

    def send_heartbeat(self) -> bool:
        """Send a heartbeat; False if the last one is not written yet."""
        if not self.active:
            return False
        self.send_frame(framing.HEARTBEAT)
        return True

    def drop(self) -> None:
        """Close the connection without another frame."""
        self.session = None
        self.stream.close()
