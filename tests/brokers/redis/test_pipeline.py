"""Scripts that pile up are sent together, and each has its own reply; on a private Redis."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, ClassVar

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.exceptions import RedisError, ResponseError

from realtime.brokers.redis import pipeline as module
from realtime.brokers.redis.pipeline import Script, ScriptPipeline, pack
from realtime.tasks import Supervisor
from tests.brokers.private_redis import PrivateRedis
from tests.faults.redis_relay import RedisRelay

SECONDS = 0.4
MAX_BATCH = 10

# ARGV[1] is the token of the attempt.
ECHO = Script(b"return ARGV[2]")
COUNT = Script(b"return redis.call('INCR', KEYS[1])")
REFUSE = Script(b"return redis.error_reply('OOM no memory')")
REMEMBER = Script(b"return redis.call('RPUSH', KEYS[1], ARGV[1])")


class CountingConnection(UnixDomainSocketConnection):
    """A connection that records the number of scripts in each write."""

    writes: ClassVar[list[int]] = []

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if isinstance(command, bytes):
            self.writes.append(command.count(b"EVAL"))
        await super().send_packed_command(command, check_health)


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    await supervisor.close()


@pytest.fixture
async def admin(redis: PrivateRedis) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url, decode_responses=True) as client:
        yield client


Connected = Callable[[], Awaitable[ScriptPipeline]]


@pytest.fixture
async def connected(redis: PrivateRedis, supervisor: Supervisor) -> AsyncIterator[Connected]:
    pipelines: list[ScriptPipeline] = []

    async def connected() -> ScriptPipeline:
        """Return a connected pipeline; the server has the echo script."""
        pipelines.append(pipeline := ScriptPipeline(connect, MAX_BATCH, SECONDS, supervisor))
        assert await echo(pipeline, "ready") == b"ready"
        CountingConnection.writes.clear()
        return pipeline

    def connect() -> CountingConnection:
        return CountingConnection(path=redis.path, socket_timeout=None)

    yield connected
    for pipeline in pipelines:
        await pipeline.close()


@pytest.fixture
async def pipeline(connected: Connected) -> ScriptPipeline:
    return await connected()


def echo(pipeline: ScriptPipeline, text: str) -> "asyncio.Future[Any]":
    return pipeline.call(ECHO, [], [text.encode()])


def count(pipeline: ScriptPipeline, key: str) -> "asyncio.Future[Any]":
    return pipeline.call(COUNT, [key.encode()], [])


async def outcomes(replies: "Iterable[asyncio.Future[Any]]") -> list[Any]:
    """Return each reply, or the type of its error."""
    gathered = await asyncio.gather(*replies, return_exceptions=True)
    return [type(one) if isinstance(one, Exception) else one for one in gathered]


async def sent() -> None:
    """Return when the waiting scripts are sent."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_command_is_encoded_in_resp() -> None:
    assert pack(b"GET", "é\r\n".encode()) == b"*2\r\n$3\r\nGET\r\n$4\r\n\xc3\xa9\r\n\r\n"


# --- batches -------------------------------------------------------------------------------------


async def test_scripts_that_arrive_during_a_round_trip_share_the_next(
    pipeline: ScriptPipeline,
) -> None:
    replies = [echo(pipeline, "alone")]
    await sent()
    assert CountingConnection.writes == [1]  # at once, since the connection was idle
    replies += [echo(pipeline, str(number)) for number in range(MAX_BATCH)]
    assert await outcomes(replies) == [b"alone", *(b"%d" % number for number in range(MAX_BATCH))]
    assert CountingConnection.writes == [1, MAX_BATCH]


async def test_many_scripts_are_sent_in_bounded_batches_in_order(pipeline: ScriptPipeline) -> None:
    counts = await outcomes(count(pipeline, "crowd") for _ in range(2 * MAX_BATCH + 5))
    assert counts == list(range(1, 2 * MAX_BATCH + 6))
    # Redis does not have the counting script yet, so the first batch is sent again, with its text.
    assert CountingConnection.writes == [MAX_BATCH, MAX_BATCH, MAX_BATCH, 5]


# --- each call has its own result ----------------------------------------------------------------


async def test_an_error_reply_fails_only_its_own_call(pipeline: ScriptPipeline) -> None:
    for _ in range(2):  # the second time, Redis has the script, and all have a reply at once
        first, refused, last = (
            echo(pipeline, "a"),
            pipeline.call(REFUSE, [], []),
            echo(pipeline, "b"),
        )
        with pytest.raises(ResponseError, match="no memory"):
            await refused
        assert await outcomes([first, last]) == [b"a", b"b"]


async def test_only_calls_with_an_unknown_script_are_sent_again(
    pipeline: ScriptPipeline, admin: Redis
) -> None:
    await count(pipeline, "known")
    await admin.script_flush()
    assert await echo(pipeline, "known again") == b"known again"
    replies = [
        echo(pipeline, "a"),
        count(pipeline, "new"),
        echo(pipeline, "b"),
        count(pipeline, "new"),
    ]
    assert await outcomes(replies) == [b"a", 1, b"b", 2]


async def test_a_server_that_lost_all_scripts_receives_them_again(
    pipeline: ScriptPipeline, admin: Redis
) -> None:
    await admin.script_flush()
    assert await outcomes(count(pipeline, "key") for _ in range(5)) == [1, 2, 3, 4, 5]
    CountingConnection.writes.clear()
    assert await count(pipeline, "key") == 6
    assert CountingConnection.writes == [1]


async def test_a_cancelled_call_affects_no_other_and_is_not_sent_if_it_still_waits(
    redis: PrivateRedis, pipeline: ScriptPipeline
) -> None:
    await count(pipeline, "key")
    redis.pause()
    in_flight = [count(pipeline, "key") for _ in range(3)]
    await sent()
    later = [count(pipeline, "key") for _ in range(3)]
    in_flight[1].cancel()
    later[1].cancel()
    redis.resume()
    await asyncio.wait(in_flight + later)
    done = [one.result() for one in in_flight + later if not one.cancelled()]
    assert done == [2, 4, 5, 6]  # 3 was in flight when its caller cancelled
    assert await echo(pipeline, "next") == b"next"


# --- no reply ------------------------------------------------------------------------------------


async def test_a_call_without_a_reply_is_sent_again_with_a_new_token(
    redis: PrivateRedis, admin: Redis, supervisor: Supervisor
) -> None:
    async with RedisRelay(redis.path) as relay:
        pipeline = ScriptPipeline(
            lambda: UnixDomainSocketConnection(path=relay.path), MAX_BATCH, 5, supervisor
        )
        await pipeline.call(REMEMBER, [b"tokens"], [])
        relay.drop_reply(to=b"tokens")
        replies = [pipeline.call(REMEMBER, [b"tokens"], []) for _ in range(2)]
        assert await outcomes(replies) == [4, 5]
        await pipeline.close()
    assert len(set(await admin.lrange("tokens", 0, -1))) == 5


async def test_a_frozen_server_fails_all_calls_in_time_and_its_late_replies_are_dropped(
    redis: PrivateRedis, pipeline: ScriptPipeline
) -> None:
    redis.pause()
    started = time.monotonic()
    replies = [echo(pipeline, f"late {number}") for number in range(3 * MAX_BATCH)]
    assert await outcomes(replies) == [TimeoutError] * len(replies)
    assert time.monotonic() - started < 2 * SECONDS
    redis.resume()
    assert await outcomes(echo(pipeline, f"{n}") for n in range(3)) == [b"0", b"1", b"2"]


async def test_a_blocked_event_loop_does_not_count_as_a_timeout(pipeline: ScriptPipeline) -> None:
    reply = echo(pipeline, "in time")
    await sent()
    time.sleep(1.2 * SECONDS)  # the server replies in the meantime
    assert await reply == b"in time"


async def test_a_closed_idle_connection_is_replaced_before_the_next_call(
    connected: Connected, admin: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRIES", 0)
    pipeline = await connected()
    await admin.client_kill_filter(_type="normal", skipme=True)
    await asyncio.sleep(0.02)  # the connection receives the end of the stream
    assert await echo(pipeline, "hello") == b"hello"


async def test_a_killed_server_is_an_error_and_a_restarted_one_is_used(
    redis: PrivateRedis, pipeline: ScriptPipeline
) -> None:
    redis.kill()
    for error in await asyncio.gather(echo(pipeline, "a"), return_exceptions=True):
        assert isinstance(error, RedisError)
    redis.start()
    assert await echo(pipeline, "b") == b"b"


async def test_closing_fails_the_waiting_calls(
    redis: PrivateRedis, pipeline: ScriptPipeline
) -> None:
    redis.pause()
    replies = [echo(pipeline, "a"), echo(pipeline, "b")]
    await sent()
    await pipeline.close()
    redis.resume()
    assert await outcomes(replies) == [ConnectionError] * 2
