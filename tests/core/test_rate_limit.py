"""How often a client may publish: a token bucket per client."""

import pytest

from realtime.core.rate_limit import VOTE_COST, MessageRates, RateLimiter
from realtime.errors import TooFast
from realtime.limits import Limits


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


def test_each_client_has_its_own_bucket() -> None:
    limiter = RateLimiter(rate=1, burst=1)
    assert allowed(limiter, "a", 0)
    assert allowed(limiter, "b", 0)


def test_a_client_that_waits_for_retry_after_is_allowed() -> None:
    limiter = RateLimiter(rate=0.3, burst=1)
    limiter.acquire("a", 0)
    with pytest.raises(TooFast) as raised:
        limiter.acquire("a", 0)
    assert raised.value.retry_after == 4
    assert allowed(limiter, "a", 4)


def test_a_rate_of_0_means_no_limit() -> None:
    limiter = RateLimiter(rate=0, burst=1)
    assert all(allowed(limiter, "a", 0) for _ in range(1000))


def test_a_burst_is_never_more_than_its_size() -> None:
    limiter = RateLimiter(rate=1, burst=2)
    limiter.acquire("a", 0)
    assert [allowed(limiter, "a", 1e6) for _ in range(3)] == [True, True, False]


def test_buckets_of_idle_clients_are_removed() -> None:
    limiter = RateLimiter(rate=1, burst=1)
    for number in range(RateLimiter._PRUNE_AT + 1):
        limiter.acquire(f"client-{number}", number)
    assert len(limiter._buckets) < 10


def test_buckets_of_active_clients_are_kept_however_many() -> None:
    limiter = RateLimiter(rate=1, burst=1)
    for number in range(RateLimiter._PRUNE_AT + 1):
        limiter.acquire(f"client-{number}", 0)
    assert not allowed(limiter, "client-0", 0.5)


def test_a_burst_of_less_than_one_still_allows_one() -> None:
    assert allowed(RateLimiter(rate=1, burst=0.5), "a", 0)


def test_retry_after_is_in_whole_seconds_and_never_0() -> None:
    limiter = RateLimiter(rate=1000, burst=1)
    limiter.acquire("a", 0)
    with pytest.raises(TooFast) as raised:
        limiter.acquire("a", 0)
    assert raised.value.retry_after == 1


def test_a_reader_of_votes_once_a_second_misses_none_of_a_flood() -> None:
    """From ever new clients at ever new addresses, in one second after a quiet time."""
    limits = Limits()
    rates, accepted = MessageRates(limits), 0
    for number in range(3 * limits.history_events):
        try:
            rates.acquire(f"c{number}", None, f"a{number}", "class.votes", number / 3000)
        except TooFast:
            continue
        accepted += 1
    assert 500 < accepted < limits.history_events


def test_a_vote_counts_as_several_messages_of_its_client() -> None:
    rates, limits = MessageRates(Limits()), Limits()
    for _ in range(int(limits.message_burst / VOTE_COST)):
        rates.acquire("ada", None, "address", "class.votes", 0)
    with pytest.raises(TooFast) as raised:
        rates.acquire("ada", None, "address", "class.votes", 0)
    assert raised.value.retry_after == 1


def test_a_bucket_smaller_than_the_cost_of_a_vote_admits_one_when_it_is_full() -> None:
    rates = MessageRates(Limits(message_burst=2))
    rates.acquire("ada", None, "address", "class.votes", 0)
    with pytest.raises(TooFast):
        rates.acquire("ada", None, "address", "class.votes", 0)
