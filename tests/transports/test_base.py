"""The follower on a connection, over a stream that is a list; and the chunk that wraps a push."""

import asyncio
from typing import Any

from realtime.audience import Framing
from realtime.transports.base import StreamFollower, chunk


class ListStream:
    """Takes what it is given into a list; `stuck` is what the peer has not read yet."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.events = 0
        self.stuck = False
        self.writes: list[asyncio.Future[None]] = []

    def push(self, data: bytes, events: int) -> bool:
        if self.stuck:
            return False
        self.taken.append(data)
        self.events += events
        return True

    def writing(self) -> bool:
        return self.stuck

    def write(self, data: bytes) -> "asyncio.Future[None]":
        self.writes.append(asyncio.get_running_loop().create_future())
        return self.writes[-1]


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
    follower.audience = ListAudience()
    return follower, stream


def test_a_chunk_has_its_length_in_hexadecimal() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


async def test_what_is_pushed_goes_to_the_stream_as_it_is() -> None:
    follower, stream = following()
    frames = b"frames"
    assert follower.push(frames, 2)
    assert stream.taken[0] is frames
    assert stream.events == 2
    assert stream.writes == []  # no future for a push that was taken


async def test_a_refused_push_is_resumed_when_the_stream_has_drained() -> None:
    follower, stream = following()
    stream.stuck = True
    assert not follower.push(b"1", 1)
    assert not follower.push(b"2", 1)
    assert len(stream.writes) == 1  # one wait, however many pushes were refused
    stream.stuck = False
    stream.writes[0].set_result(None)
    await asyncio.sleep(0)
    assert follower.audience.resumed == [follower]
    follower.leave()
