"""How often a client may publish: a token bucket per client."""

import pytest

from realtime.core.rate_limit import RateLimiter
from realtime.errors import TooFast


def allowed(limiter: RateLimiter, client: str, now: float) -> bool:
    try:
        limiter.acquire(client, now)
    except TooFast:
        return False
    return True


def test_a_burst_and_then_the_rate() -> None:
    limiter = RateLimiter(rate=2, burst=3)
    assert [allowed(limiter, "a", 0) for _ in range(4)] == [True, True, True, False]
    assert [allowed(limiter, "a", 1) for _ in range(3)] == [True, True, False]


def test_each_client_has_its_own() -> None:
    limiter = RateLimiter(rate=1, burst=1)
    assert allowed(limiter, "a", 0)
    assert allowed(limiter, "b", 0)


def test_who_waits_as_told_is_let_in() -> None:
    limiter = RateLimiter(rate=0.3, burst=1)
    limiter.acquire("a", 0)
    with pytest.raises(TooFast) as told:
        limiter.acquire("a", 0)
    assert told.value.retry_after == 4
    assert allowed(limiter, "a", 4)


def test_a_rate_of_0_is_switched_off() -> None:
    limiter = RateLimiter(rate=0, burst=1)
    assert all(allowed(limiter, "a", 0) for _ in range(1000))


def test_a_burst_is_never_more_than_its_size() -> None:
    limiter = RateLimiter(rate=1, burst=2)
    limiter.acquire("a", 0)
    assert [allowed(limiter, "a", 1e6) for _ in range(3)] == [True, True, False]


def test_those_who_are_silent_are_forgotten() -> None:
    limiter = RateLimiter(rate=1, burst=1)
    for number in range(RateLimiter._PRUNE_AT + 1):
        limiter.acquire(f"client-{number}", number)
    assert len(limiter._buckets) < 10


def test_those_who_speak_are_remembered_however_many() -> None:
    limiter = RateLimiter(rate=1, burst=1)
    for number in range(RateLimiter._PRUNE_AT + 1):
        limiter.acquire(f"client-{number}", 0)
    assert not allowed(limiter, "client-0", 0.5)


def test_a_burst_of_less_than_one_still_lets_one_in() -> None:
    assert allowed(RateLimiter(rate=1, burst=0.5), "a", 0)


def test_a_client_is_told_to_come_back_in_whole_seconds_and_never_at_once() -> None:
    limiter = RateLimiter(rate=1000, burst=1)
    limiter.acquire("a", 0)
    with pytest.raises(TooFast) as told:
        limiter.acquire("a", 0)
    assert told.value.retry_after == 1
