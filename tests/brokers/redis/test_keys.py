"""The names in Redis: public for the default prefix, and never shared by two deployments."""

import pytest
from redis.crc import key_slot

from realtime.brokers.redis.keys import Keys, check_prefix
from tests.cases import each


def test_by_default_names_are_as_documented() -> None:
    keys = Keys("rt", 0)
    assert keys.channel("聊天室") == "rt:{聊天室}".encode()
    assert keys.room("r", b"log", b"meta") == [b"rt:{r}:log", b"rt:{r}:meta"]
    assert (keys.workers, keys.reports) == (b"{rt}:workers", b"{rt}:reports")


def test_a_channel_contains_the_database_and_keys_do_not() -> None:
    keys = Keys("rt", 1)
    assert keys.channel("r") == b"rt:1:{r}"
    assert keys.room("r", b"log") == [b"rt:{r}:log"]


@each("keys", [Keys("rt", 0), Keys("rt", 15), Keys("my.lab-2", 0)])
@each("room", ["r", "聊天室", "-", "rt"])
def test_names_lead_back_to_their_room_and_are_in_its_slot(keys: Keys, room: str) -> None:
    assert keys.room_of_channel(keys.channel(room)) == room
    (meta,) = keys.room(room, b"meta")
    assert keys.room_of_meta(meta) == room
    assert key_slot(keys.channel(room)) == key_slot(meta)


def test_shared_keys_are_in_one_slot() -> None:
    keys = Keys("lab", 0)
    names = (keys.workers, keys.reports, keys.clock, keys.check, keys.check_channel)
    assert {key_slot(name) for name in names} == {key_slot(keys.channel("lab"))}


@each("prefix", ["", "a:b", "a{b", "rt*", "x" * 33, "é", "a b", "a\n"])
def test_a_prefix_that_could_build_the_names_of_another_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="a prefix has 1 to 32"):
        check_prefix(prefix)
