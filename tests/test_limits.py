"""The limits of the design, and a reason for each."""

from collections import Counter

from realtime.limits import Limits

DEFAULTS = {
    "text_bytes": 4096,
    "body_bytes": 16384,
    "name_length": 32,
    "history_events": 1000,
    "history_seconds": 3600,
    "answer_events": 300,
    "wait_seconds": 60,
    "heartbeat_seconds": 15,
    "write_deadline_seconds": 10,
    "messages_per_second": 20,
    "message_burst": 40,
    "connections": 10000,
    "connections_per_address": 1000,
    "rooms": 1000,
    "lease_seconds": 30,
    "grace_seconds": 5,
}


def test_the_defaults_are_those_of_the_design() -> None:
    limits = Limits()
    assert {name: getattr(limits, name) for name in DEFAULTS} == DEFAULTS


def test_every_limit_has_its_reason() -> None:
    assert all(len(limit.metadata["reason"]) > 20 for limit in Limits.named())


def test_a_text_with_the_longest_escapes_fits_into_a_push_and_a_response() -> None:
    # A control character is one byte of UTF-8 and six of JSON.
    assert 6 * Limits().text_bytes < Limits().push_bytes < Limits().answer_bytes


def admitted(limits: Limits, *addresses: str, total: int) -> Counter[str]:
    """Give one to each address in turn, until none may have one more."""
    held: Counter[str] = Counter()
    while any(limits.admits(held[one], 10**6, held.total(), total) for one in addresses):
        for one in addresses:
            held[one] += limits.admits(held[one], 10**6, held.total(), total)
    return held


def test_no_number_of_addresses_holds_everything() -> None:
    limits = Limits()
    assert admitted(limits, "a", total=1000) == {"a": 750}
    assert admitted(limits, "a", "b", total=1000) == {"a": 429, "b": 429}
    many = admitted(limits, *map(str, range(40)), total=1000)
    assert (min(many.values()), max(many.values())) == (24, 25)
    assert admitted(limits, "a", total=8) == {"a": 6}


def test_an_address_has_its_own_limit_too() -> None:
    limits = Limits()
    assert limits.admits(9, 10, 9, 1000)
    assert not limits.admits(10, 10, 10, 1000)
    assert not limits.admits(0, 10, 1000, 1000)
