"""The subscriber on a connection, over a stream that is a list; and the chunk that wraps a push."""

from typing import Any

from realtime.core.broadcaster import Framing
from realtime.protocol.http1 import chunk
from realtime.transports.streaming import StreamSubscriber


class ListStream:
    """Appends what is pushed to a list."""

    def __init__(self) -> None:
        self.pushed: list[bytes] = []
        self.events = 0
        self.drained: Any = None

    def push(self, data: bytes, events: int) -> bool:
        self.pushed.append(data)
        self.events += events
        return True


def test_a_chunk_starts_with_its_length_in_hexadecimal() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


def test_pushed_bytes_reach_the_stream_uncopied() -> None:
    stream: Any = ListStream()
    framing = Framing(lambda event: event.json, bytes)
    subscriber = StreamSubscriber(stream, framing, lambda error: None)
    frames = b"frames"
    assert subscriber.push(frames, 2)
    assert stream.pushed[0] is frames
    assert stream.events == 2
