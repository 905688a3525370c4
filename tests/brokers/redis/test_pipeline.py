"""Scripts that pile up go together, and each is answered for itself; on a real Redis of our own."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, ClassVar

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import Connection, UnixDomainSocketConnection
from redis.exceptions import RedisError, ResponseError

from realtime.brokers.redis import pipeline as module
from realtime.brokers.redis.pipeline import Carrier, Script, pack
from realtime.tasks import Supervisor
from tests.brokers.private_redis import PrivateRedis
from tests.faults.redis_relay import RedisRelay

SECONDS = 0.4
BATCH = 10

# ARGV[1] is the token of the sending.
ECHO = Script(b"return ARGV[2]")
COUNT = Script(b"return redis.call('INCR', KEYS[1])")
REFUSE = Script(b"return redis.error_reply('OOM no memory')")
REMEMBER = Script(b"return redis.call('RPUSH', KEYS[1], ARGV[1])")


class Watched(UnixDomainSocketConnection):
    """A connection that notes each writing: how many scripts went in it."""

    writings: ClassVar[list[int]] = []

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if isinstance(command, bytes):
            self.writings.append(command.count(b"EVAL"))
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


Connected = Callable[[], Awaitable[Carrier]]


@pytest.fixture
async def connected(redis: PrivateRedis, supervisor: Supervisor) -> AsyncIterator[Connected]:
    carriers: list[Carrier] = []

    async def connected() -> Carrier:
        """One that is connected, and whose server knows the echo."""
        carriers.append(carrier := Carrier(connect, BATCH, SECONDS, supervisor))
        assert await echo(carrier, "ready") == b"ready"
        Watched.writings.clear()
        return carrier

    def connect() -> Watched:
        return Watched(path=redis.path, socket_timeout=None)

    yield connected
    for carrier in carriers:
        await carrier.close()


@pytest.fixture
async def carrier(connected: Connected) -> Carrier:
    return await connected()


def echo(carrier: Carrier, text: str) -> "asyncio.Future[Any]":
    return carrier.run(ECHO, [], [text.encode()])


def count(carrier: Carrier, key: str) -> "asyncio.Future[Any]":
    return carrier.run(COUNT, [key.encode()], [])


async def outcomes(answers: "Iterable[asyncio.Future[Any]]") -> list[Any]:
    """What each became, an error by its type."""
    gathered = await asyncio.gather(*answers, return_exceptions=True)
    return [type(one) if isinstance(one, Exception) else one for one in gathered]


async def sent() -> None:
    """Let what was run go out."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_command_is_packed_as_redis_reads_it() -> None:
    assert pack(b"GET", "é\r\n".encode()) == b"*2\r\n$3\r\nGET\r\n$4\r\n\xc3\xa9\r\n\r\n"


# --- together ------------------------------------------------------------------------------------


async def test_what_comes_while_a_round_trip_is_under_way_goes_together_in_the_next(
    carrier: Carrier,
) -> None:
    answers = [echo(carrier, "alone")]
    await sent()
    assert Watched.writings == [1]  # at once, since nothing was under way
    answers += [echo(carrier, str(number)) for number in range(BATCH)]
    assert await outcomes(answers) == [b"alone", *(b"%d" % number for number in range(BATCH))]
    assert Watched.writings == [1, BATCH]


async def test_a_crowd_goes_in_bounded_batches_in_the_order_it_came(carrier: Carrier) -> None:
    counts = await outcomes(count(carrier, "crowd") for _ in range(2 * BATCH + 5))
    assert counts == list(range(1, 2 * BATCH + 6))
    # Nobody had sent the counting script before, so the first go a second time, with its text.
    assert Watched.writings == [BATCH, BATCH, BATCH, 5]


# --- each for itself -----------------------------------------------------------------------------


async def test_what_is_refused_to_one_is_not_refused_to_its_neighbours(carrier: Carrier) -> None:
    for _ in range(2):  # the second time, the script is known, and all are answered together
        first, refused, last = echo(carrier, "a"), carrier.run(REFUSE, [], []), echo(carrier, "b")
        with pytest.raises(ResponseError, match="no memory"):
            await refused
        assert await outcomes([first, last]) == [b"a", b"b"]


async def test_only_those_whose_script_was_not_known_are_run_again(
    carrier: Carrier, admin: Redis
) -> None:
    await count(carrier, "known")
    await admin.script_flush()
    assert await echo(carrier, "known again") == b"known again"
    answers = [echo(carrier, "a"), count(carrier, "new"), echo(carrier, "b"), count(carrier, "new")]
    assert await outcomes(answers) == [b"a", 1, b"b", 2]


async def test_a_server_that_forgot_all_scripts_is_told_them_again(
    carrier: Carrier, admin: Redis
) -> None:
    await admin.script_flush()
    assert await outcomes(count(carrier, "key") for _ in range(5)) == [1, 2, 3, 4, 5]
    Watched.writings.clear()
    assert await count(carrier, "key") == 6
    assert Watched.writings == [1]


async def test_who_stops_waiting_harms_nobody_and_is_not_sent_if_there_is_time(
    redis: PrivateRedis, carrier: Carrier
) -> None:
    await count(carrier, "key")
    redis.pause()
    under_way = [count(carrier, "key") for _ in range(3)]
    await sent()
    later = [count(carrier, "key") for _ in range(3)]
    under_way[1].cancel()
    later[1].cancel()
    redis.resume()
    await asyncio.wait(under_way + later)
    done = [one.result() for one in under_way + later if not one.cancelled()]
    assert done == [2, 4, 5, 6]  # 3 was under way, and is of no more interest to anybody
    assert await echo(carrier, "next") == b"next"


# --- no answer -----------------------------------------------------------------------------------


async def test_what_was_not_answered_is_sent_again_under_another_token(
    redis: PrivateRedis, admin: Redis, supervisor: Supervisor
) -> None:
    async with RedisRelay(redis.path) as relay:
        host, port = relay.url.removeprefix("redis://").split(":")
        carrier = Carrier(lambda: Connection(host=host, port=int(port)), BATCH, 5, supervisor)
        await carrier.run(REMEMBER, [b"tokens"], [])
        relay.swallow_reply(to=b"tokens")
        answers = [carrier.run(REMEMBER, [b"tokens"], []) for _ in range(2)]
        assert await outcomes(answers) == [4, 5]
        await carrier.close()
    assert len(set(await admin.lrange("tokens", 0, -1))) == 5


async def test_a_silent_server_is_an_error_for_all_in_time_and_its_late_answers_are_nobodys(
    redis: PrivateRedis, carrier: Carrier
) -> None:
    redis.pause()
    began = time.monotonic()
    answers = [echo(carrier, f"late {number}") for number in range(3 * BATCH)]
    assert await outcomes(answers) == [TimeoutError] * len(answers)
    assert time.monotonic() - began < 2 * SECONDS
    redis.resume()
    assert await outcomes(echo(carrier, f"{n}") for n in range(3)) == [b"0", b"1", b"2"]


async def test_a_loop_that_was_held_up_does_not_blame_the_server(carrier: Carrier) -> None:
    answer = echo(carrier, "in time")
    await sent()
    time.sleep(1.2 * SECONDS)  # the server answers meanwhile
    assert await answer == b"in time"


async def test_a_server_that_hung_up_meanwhile_is_noticed_before_anybody_pays_for_it(
    connected: Connected, admin: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRIES", 0)
    carrier = await connected()
    await admin.client_kill_filter(_type="normal", skipme=True)
    await asyncio.sleep(0.02)  # it is told
    assert await echo(carrier, "hello") == b"hello"


async def test_a_server_that_is_gone_is_an_error_and_one_that_is_back_is_found(
    redis: PrivateRedis, carrier: Carrier
) -> None:
    redis.kill()
    for error in await asyncio.gather(echo(carrier, "a"), return_exceptions=True):
        assert isinstance(error, RedisError)
    redis.start()
    assert await echo(carrier, "b") == b"b"


async def test_who_waits_when_it_is_closed_is_told(redis: PrivateRedis, carrier: Carrier) -> None:
    redis.pause()
    answers = [echo(carrier, "a"), echo(carrier, "b")]
    await sent()
    await carrier.close()
    redis.resume()
    assert await outcomes(answers) == [ConnectionError] * 2
