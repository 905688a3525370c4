"""The follower on a connection, over a stream that is a list; and the chunk that wraps a push."""

from typing import Any

from realtime.core.broadcaster import Framing
from realtime.protocol.http1 import chunk
from realtime.transports.streaming import StreamFollower


class ListStream:
    """Takes what it is given into a list."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.events = 0
        self.drained: Any = None

    def push(self, data: bytes, events: int) -> bool:
        self.taken.append(data)
        self.events += events
        return True


class ListAudience:
    def __init__(self) -> None:
        self.resumed: list[Any] = []
        self.left: list[Any] = []

    def resume(self, follower: Any) -> None:
        self.resumed.append(follower)

    def leave(self, follower: Any) -> None:
        self.left.append(follower)


def following() -> tuple[Any, ListStream]:
    stream = ListStream()
    framing = Framing(lambda event: event.json, bytes)
    follower: Any = StreamFollower(stream, framing, lambda error: None)  # type: ignore[arg-type]
    follower.join(ListAudience())
    return follower, stream


def test_a_chunk_has_its_length_in_hexadecimal() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


def test_what_is_pushed_goes_to_the_stream_as_it_is() -> None:
    follower, stream = following()
    frames = b"frames"
    assert follower.push(frames, 2)
    assert stream.taken[0] is frames
    assert stream.events == 2


def test_a_follower_is_resumed_when_its_stream_has_drained() -> None:
    follower, stream = following()
    stream.drained()
    assert follower.audience.resumed == [follower]


def test_a_follower_that_left_is_not_called_any_more() -> None:
    follower, stream = following()
    follower.leave()
    assert stream.drained is None
    assert follower.audience.left == [follower]
