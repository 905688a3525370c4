"""The limits of the design, and a reason for each."""

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
