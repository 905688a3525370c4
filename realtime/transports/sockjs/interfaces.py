"""What the parts of a router are to one another."""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from realtime.transports.sockjs import framing


class Keeper(Protocol):
    """Who keeps sessions."""

    settings: Mapping[str, Any]

    def opened(self, session: Any, address: str) -> None: ...
    def closed(self, session: Any, address: str) -> None: ...
    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...


class Router(Keeper, Protocol):
    """Who admits requests, and knows their sessions; see `HardenedSockJSRouter`."""

    stats: Any
    lasting: bool
    websockets_enabled: bool
    cookie_needed: bool

    def acquire(self, handler: Any) -> None: ...
    def answered(self, handler: Any) -> None: ...
    def refuse(self, handler: Any, status: int, error: BaseException | None) -> None: ...
    def is_expected(self, error: BaseException | None) -> bool: ...
    def readable_by(self, head: Mapping[str, str]) -> str | None: ...
    def framed_by(self, head: Mapping[str, str]) -> str: ...
    def check_place(self, session_id: str, address: str | None) -> None: ...
    def create_session(self, session_id: str, register: bool = True) -> Any: ...
    def session_for(self, session_id: str, address: str | None) -> Any: ...
    def is_bearable(self, batch: list[str]) -> bool: ...


class Receiver:
    """The connection by which a session is told something now.

    `streams` says whether it takes more than one frame, `active` whether it would take one now.
    """

    streams: ClassVar[bool]
    active: bool
    session: Any  # or None
    stream: Any

    def wrap(self, frame: bytes) -> bytes:
        """Put a frame in the envelope of this transport."""
        raise NotImplementedError

    def send_frame(self, frame: bytes) -> None:
        """Send one frame, whatever waits to be written before it."""
        raise NotImplementedError

    def push_frame(self, frame: bytes, events: int) -> bool:
        """Send one frame with `events` in it, or nothing while an older one waits."""
        raise NotImplementedError

    def send_messages(self, encoded: Sequence[str]) -> None:
        self.send_frame(framing.messages(encoded))

    def send_pack(self, message: str, binary: bool = False) -> None:
        """Send a frame that the package has put together."""
        self.send_frame(message.encode())

    def beat(self) -> bool:
        """Break a silence; False if the last heartbeat is still on its way."""
        if not self.active:
            return False
        self.send_frame(framing.HEARTBEAT)
        return True

    def abandon(self) -> None:
        """End the connection without a word more."""
        self.session = None
        self.stream.close()
