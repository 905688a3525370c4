"""The door: names that are ours, pages that are ours, and how often somebody may speak."""

import pytest

from realtime.errors import ForeignHost, ForeignOrigin, TooFast
from realtime.limits import Limits
from realtime.protocol.origin import OriginPolicy, RateLimiter

GATE = OriginPolicy(Limits(), ["Chat.Example.", "box"])


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8000",
        "10.1.2.3:80",
        "[::1]",
        "[::1]:8000",
        "localhost:8000",
        "LOCALHOST",
        "a.localhost",
        "chat.example",
        "CHAT.example:99",
        "chat.example.",
        "box",
        None,
    ],
)
def test_our_own_names_pass(host: str | None) -> None:
    GATE.check_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "2130706433",
        "127.1",
        "chat.example.evil",
        "localhost.evil",
        "127.0.0.1.evil",
        "",
        ":80",
        "[::1",
        "evil@localhost.x",
        "xlocalhost",
    ],
)
def test_other_names_are_foreign(host: str) -> None:
    with pytest.raises(ForeignHost):
        GATE.check_host(host)


def test_who_was_welcome_with_other_words_is_asked_again() -> None:
    gate = OriginPolicy(Limits(), ["box"])
    gate.check("box", "http://box", None)
    gate.check("box", "http://box", None)
    with pytest.raises(ForeignOrigin):
        gate.check("box", "http://evil", None)
    with pytest.raises(ForeignHost):
        gate.check("evil", "http://evil", None)
    with pytest.raises(ForeignOrigin):
        gate.check("box", None, "cross-site")


def test_the_memory_of_the_welcome_is_bounded() -> None:
    gate = OriginPolicy(Limits(), ["box"])
    for number in range(5000):
        gate.check(f"{number}.localhost", None, None)
    gate.check("x" * 500 + ".localhost", None, None)
    assert len(gate._welcome) <= 1000
    assert max(len(word or "") for words in gate._welcome for word in words) < 500


@pytest.mark.parametrize(
    ("origin", "host", "site"),
    [
        ("http://box:8000", "box:8000", None),
        ("https://box", "box", "same-origin"),
        ("http://BOX:8000", "box:8000", None),
        ("http://box:8000", "BOX:8000", None),
        (None, "box", None),
        (None, "box", "same-origin"),
        (None, "box", "none"),
    ],
)
def test_our_own_pages_pass(origin: str | None, host: str, site: str | None) -> None:
    GATE.check_origin(origin, host, site)


@pytest.mark.parametrize(
    ("origin", "host", "site"),
    [
        ("http://evil.example", "box", None),
        ("http://box:3000", "box:8000", None),
        ("http://box.evil", "box", None),
        ("null", "box", None),
        ("null", "null", None),
        ("", "", None),
        ("file://", "", None),
        ("ftp://box", "box", None),
        ("http://box", None, None),
        (None, "box", "cross-site"),
    ],
)
def test_pages_of_others_are_foreign(
    origin: str | None, host: str | None, site: str | None
) -> None:
    with pytest.raises(ForeignOrigin):
        GATE.check_origin(origin, host, site)


# --- rates ---------------------------------------------------------------------------------------


def allowed(rates: RateLimiter, client: str, now: float) -> bool:
    try:
        rates.spend(client, now)
    except TooFast:
        return False
    return True


def test_a_burst_and_then_the_rate() -> None:
    rates = RateLimiter(rate=2, burst=3)
    assert [allowed(rates, "a", 0) for _ in range(4)] == [True, True, True, False]
    assert [allowed(rates, "a", 1) for _ in range(3)] == [True, True, False]


def test_each_client_has_its_own() -> None:
    rates = RateLimiter(rate=1, burst=1)
    assert allowed(rates, "a", 0)
    assert allowed(rates, "b", 0)


def test_who_waits_as_told_is_let_in() -> None:
    rates = RateLimiter(rate=0.3, burst=1)
    rates.spend("a", 0)
    with pytest.raises(TooFast) as told:
        rates.spend("a", 0)
    assert told.value.retry_after == 4
    assert allowed(rates, "a", 4)


def test_a_rate_of_0_is_switched_off() -> None:
    rates = RateLimiter(rate=0, burst=1)
    assert all(allowed(rates, "a", 0) for _ in range(1000))


def test_a_burst_is_never_more_than_its_size() -> None:
    rates = RateLimiter(rate=1, burst=2)
    rates.spend("a", 0)
    assert [allowed(rates, "a", 1e6) for _ in range(3)] == [True, True, False]


def test_those_who_are_silent_are_forgotten() -> None:
    rates = RateLimiter(rate=1, burst=1)
    for number in range(RateLimiter._PRUNE_AT + 1):
        rates.spend(f"client-{number}", number)
    assert len(rates._buckets) < 10


def test_those_who_speak_are_remembered_however_many() -> None:
    rates = RateLimiter(rate=1, burst=1)
    for number in range(RateLimiter._PRUNE_AT + 1):
        rates.spend(f"client-{number}", 0)
    assert not allowed(rates, "client-0", 0.5)


def test_a_burst_of_less_than_one_still_lets_one_in() -> None:
    assert allowed(RateLimiter(rate=1, burst=0.5), "a", 0)


def test_a_client_is_told_to_come_back_in_whole_seconds_and_never_at_once() -> None:
    gate = OriginPolicy(Limits(messages_per_second=1000, message_burst=1), [])
    gate.acquire("a", 0)
    with pytest.raises(TooFast) as told:
        gate.acquire("a", 0)
    assert told.value.retry_after == 1


def test_our_other_ports_are_listed_by_a_name_that_is_nothing_else() -> None:
    gate = OriginPolicy(Limits(), ["box"])
    assert gate.own_origins("box:1") == []  # without lanes there are none
    gate.ports = frozenset({1, 2})
    assert gate.own_origins("BOX:1") == ["box:1", "box:2"]
    for host in ("x; script-src * .localhost", "a'b.localhost", "[::1]:1", "", None):
        assert gate.own_origins(host) == []


@pytest.mark.parametrize(
    ("origin", "host", "sister"),
    [
        ("http://box:1", "box:2", True),
        ("http://box:1", "box:1", False),  # its own page needs no permission
        ("http://box", "box:2", False),
        ("http://box:3", "box:2", False),
        ("http://evil:1", "box:2", False),
        ("http://box:1", "evil:2", False),
        ("ftp://box:1", "box:2", False),
        ("null", "box:2", False),
        (None, "box:2", False),
        ("http://[", "box:2", False),
    ],
)
def test_a_sister_is_a_page_of_ours_at_another_port(
    origin: str | None, host: str, sister: bool
) -> None:
    gate = OriginPolicy(Limits(), ["box"])
    gate.ports = frozenset({1, 2})
    assert gate.cors_origin(origin, host) == (origin if sister else None)
