"""The follower on a connection, over a stream that is a list; and the chunk that wraps a push."""

from typing import Any

from realtime.core.broadcaster import Framing
from realtime.protocol.http1 import chunk
from realtime.transports.streaming import StreamSubscriber


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

    def resume(self, subscriber: Any) -> None:
        self.resumed.append(subscriber)

    def remove(self, subscriber: Any) -> None:
        self.left.append(subscriber)


def following() -> tuple[Any, ListStream]:
    stream = ListStream()
    framing = Framing(lambda event: event.json, bytes)
    subscriber: Any = StreamSubscriber(stream, framing, lambda error: None)  # type: ignore[arg-type]
    subscriber.join(ListAudience())
    return subscriber, stream


def test_a_chunk_has_its_length_in_hexadecimal() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


def test_what_is_pushed_goes_to_the_stream_as_it_is() -> None:
    subscriber, stream = following()
    frames = b"frames"
    assert subscriber.push(frames, 2)
    assert stream.taken[0] is frames
    assert stream.events == 2


def test_a_follower_is_resumed_when_its_stream_has_drained() -> None:
    subscriber, stream = following()
    stream.drained()
    assert subscriber.broadcaster.resumed == [subscriber]


def test_a_follower_that_left_is_not_called_any_more() -> None:
    subscriber, stream = following()
    subscriber.leave()
    assert stream.drained is None
    assert subscriber.broadcaster.left == [subscriber]
