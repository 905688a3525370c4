"""Admission: each address has a share of the memory, and the whole has an end."""

import dataclasses
import json
from typing import Any

import pytest

from realtime.core.admission import Admission, StorageQuota
from realtime.core.events import Draft
from realtime.errors import Busy, TooFast
from realtime.limits import Limits

MINE, YOURS = "10.0.0.1", "10.0.0.2"


def quota(**limits: Any) -> StorageQuota:
    return StorageQuota(Limits(**limits))


def draft(text: str = "x", room: str = "lobby", client: str | None = None) -> Draft:
    body = json.dumps({"text": text, "client": client}).encode()
    return Draft.parse(body, room, Limits(), "test")


def test_an_address_that_fills_its_share_of_rooms_is_busy_and_others_are_not() -> None:
    rooms = quota(kept_rooms=4, kept_rooms_per_address=2)
    rooms.reserve("a", MINE, 1, 0)
    rooms.reserve("b", MINE, 1, 0)
    with pytest.raises(Busy) as raised:
        rooms.reserve("c", MINE, 1, 0)
    assert raised.value.retry_after
    rooms.reserve("a", MINE, 1, 0)  # not a new room
    rooms.reserve("c", YOURS, 1, 0)
    rooms.reserve("c", MINE, 1, 0)  # not its own


def test_one_address_never_fills_all_rooms_and_all_bytes() -> None:
    """Also where the limits of an address are above those of the server."""
    rooms = quota(kept_rooms=8)
    for number in range(6):
        rooms.reserve(f"r{number}", MINE, 1, 0)
    with pytest.raises(Busy):
        rooms.reserve("more", MINE, 1, 0)
    rooms.reserve("more", YOURS, 1, 0)
    memory = quota(history_bytes=1_000_000, history_bytes_per_address=2_000_000)
    for _ in range(36):  # almost three quarters
        memory.reserve("a", MINE, 20_000, 0)
    with pytest.raises(Busy, match="your address"):
        memory.reserve("a", MINE, 20_000, 0)
    memory.reserve("b", YOURS, 20_000, 0)


def test_all_addresses_together_fill_the_rooms() -> None:
    rooms = quota(kept_rooms=3, kept_rooms_per_address=2)
    for number in range(3):
        rooms.reserve(f"r{number}", f"10.0.1.{number}", 1, 0)
    with pytest.raises(Busy):
        rooms.reserve("new", YOURS, 1, 0)


def test_a_client_of_a_class_has_a_share_and_those_without_an_id_have_half() -> None:
    rooms = quota(kept_rooms_per_address=4, kept_rooms_per_client=1, history_seconds=60)
    rooms.reserve("a", MINE, 1, 0, "ada")
    with pytest.raises(Busy, match="one client"):
        rooms.reserve("b", MINE, 1, 0, "ada")
    rooms.reserve("b", YOURS, 1, 0, "ada")
    for name in ("c", "d"):
        rooms.reserve(name, MINE, 1, 0, "")
    with pytest.raises(Busy, match="one client"):
        rooms.reserve("e", MINE, 1, 0, "")
    rooms.reserve("e", MINE, 1, 0, "bo")
    with pytest.raises(Busy, match="Your address"):
        rooms.reserve("f", MINE, 1, 0, "cy")
    rooms.reserve("f", MINE, 1, 60, "ada")


def test_a_room_counts_until_its_history_has_expired() -> None:
    rooms = quota(kept_rooms_per_address=1, history_seconds=60)
    rooms.reserve("a", MINE, 1, 0)
    rooms.reserve("a", MINE, 1, 30)
    with pytest.raises(Busy):
        rooms.reserve("b", MINE, 1, 89)
    rooms.reserve("b", MINE, 1, 90)
    with pytest.raises(Busy):
        rooms.reserve("a", MINE, 1, 91)


def test_an_address_that_fills_its_share_of_bytes_is_busy_and_others_are_not() -> None:
    rooms = quota(history_bytes=100_000, history_bytes_per_address=50_000)
    rooms.reserve("a", MINE, 30_000, 0)
    with pytest.raises(Busy, match="your address"):
        rooms.reserve("b", MINE, 30_000, 0)
    rooms.reserve("c", YOURS, 30_000, 0)
    with pytest.raises(Busy, match="memory"):
        rooms.reserve("d", "10.0.0.3", 30_000, 0)


def test_a_refused_message_counts_nothing() -> None:
    rooms = quota(history_bytes_per_address=50_000)
    for _ in range(9):
        with pytest.raises(Busy):
            rooms.reserve("a", MINE, 60_000, 0)
    rooms.reserve("a", MINE, 20_000, 0)


def test_a_room_never_counts_more_than_it_keeps() -> None:
    """A class that talks in one room all day is never refused: the log drops its oldest events."""
    rooms = quota(history_events=10, room_bytes=30_000, history_bytes_per_address=50_000)
    for _ in range(1000):
        rooms.reserve("small", MINE, 100, 0)
    for _ in range(1000):
        rooms.reserve("small", MINE, 5_000, 0)


def test_a_client_with_ever_new_ids_is_too_fast() -> None:
    admission = Admission(Limits(messages_per_second_per_connection=1))
    for number in range(4):
        admission.admit_message(draft(client=f"{number}"), "7", MINE, 0)
    with pytest.raises(TooFast, match="One connection"):
        admission.admit_message(draft(client="new"), "7", MINE, 0)
    admission.admit_message(draft(client="new"), "8", MINE, 0)
    admission.admit_message(draft(client="new"), None, MINE, 0)


def test_a_class_behind_one_address_is_not_too_fast() -> None:
    admission = Admission(Limits())
    for second in range(60):
        for student in range(40):
            for _ in range(4):
                admission.admit_message(draft(client=f"{student}"), f"{student}", MINE, second)


def test_a_message_that_one_limit_refuses_takes_nothing_of_the_others() -> None:
    admission = Admission(Limits(messages_per_second_per_room=1, message_burst=8))
    for _ in range(4):
        admission.admit_message(draft(client="ada"), "7", MINE, 0)
    for _ in range(9):
        with pytest.raises(TooFast, match="one room"):
            admission.admit_message(draft(client="ada"), "7", MINE, 0)
    for _ in range(4):
        admission.admit_message(draft(room="other", client="ada"), "7", MINE, 0)


def test_ids_are_remembered_up_to_a_limit() -> None:
    admission = Admission(Limits(kept_ids=3))
    for number in range(3):
        admission.admit_message(draft(), None, f"10.0.1.{number}", 0)
    with pytest.raises(Busy, match="remembers"):
        admission.admit_message(draft(), None, YOURS, 0)
    admission.admit_message(draft(), None, YOURS, 100)


def test_without_a_rate_of_messages_there_is_no_rate_limit_of_any_kind() -> None:
    limits = dataclasses.replace(Limits(), messages_per_second=0, kept_ids=10)
    admission = Admission(limits)
    for _ in range(5_000):
        admission.admit_message(draft(client="ada"), "7", MINE, 0)


def test_all_connections_of_an_address_may_join_at_once_but_not_more() -> None:
    admission = Admission(Limits(connections_per_address=5, joins_per_second_per_address=1))
    for _ in range(5):
        admission.admit_member("lobby", MINE, 0)
    with pytest.raises(TooFast, match="new members"):
        admission.admit_member("lobby", MINE, 0)
    admission.admit_member("lobby", YOURS, 0)
    admission.admit_member("lobby", MINE, 1)
