"""The follower on a connection, over a stream that is a list; and the chunk that wraps a push."""

import asyncio
from typing import Any

from realtime import errors
from realtime.audience import Framing
from realtime.limits import Limits
from realtime.transports.base import StreamFollower, chunk


class ListStream:
    """Takes what it is given into a list; `stuck` is what the peer has not read yet."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.bytes_out = self.events = 0
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


def following(seconds: float = 60) -> tuple[Any, ListStream, asyncio.Future[errors.RealtimeError]]:
    stream = ListStream()
    closed: asyncio.Future[errors.RealtimeError] = asyncio.get_running_loop().create_future()
    limits = Limits(write_deadline_seconds=seconds)
    framing = Framing(lambda event: event.json, bytes)
    follower: Any = StreamFollower(stream, framing, limits, closed.set_result)  # type: ignore[arg-type]
    follower.audience = ListAudience()
    return follower, stream, closed


def test_a_chunk_has_its_length_in_hexadecimal() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


async def test_what_is_pushed_goes_to_the_stream_as_it_is() -> None:
    follower, stream, _ = following()
    frames = b"frames"
    assert follower.push(frames, 2)
    assert stream.taken[0] is frames
    assert stream.events == 2
    assert stream.writes == []  # no future for a push that was taken


async def test_a_refused_push_is_resumed_when_the_stream_has_drained() -> None:
    follower, stream, _ = following()
    stream.stuck = True
    assert not follower.push(b"1", 1)
    assert not follower.push(b"2", 1)
    assert len(stream.writes) == 1  # one wait, however many pushes were refused
    stream.stuck = False
    stream.writes[0].set_result(None)
    await asyncio.sleep(0)
    assert follower.audience.resumed == [follower]
    follower.leave()


async def test_a_stream_that_takes_nothing_is_closed_as_too_slow() -> None:
    follower, stream, closed = following(seconds=0.01)
    stream.stuck = True
    follower.push(b"1", 1)
    assert isinstance(await asyncio.wait_for(closed, 10), errors.TooSlow)


async def test_a_stream_that_is_slow_but_takes_something_is_not_closed() -> None:
    follower, stream, closed = following(seconds=0.01)
    stream.stuck = True
    judged = asyncio.Event()
    watch = follower._watch

    def watch_again() -> None:
        watch()
        judged.set()

    follower.push(b"1", 1)
    stream.bytes_out += 1
    follower._watch = watch_again
    await asyncio.wait_for(judged.wait(), 10)
    assert not closed.done()
    follower.leave()


async def test_a_follower_that_leaves_is_judged_no_more() -> None:
    follower, stream, closed = following(seconds=0.01)
    stream.stuck = True
    follower.push(b"1", 1)
    follower.leave()
    await asyncio.sleep(0.05)  # nothing must happen, and nothing can be awaited
    assert not closed.done()
    assert follower.audience.left == [follower]
