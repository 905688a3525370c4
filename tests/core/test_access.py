"""Who may do what: grants, and ids that only the owner of a secret can use."""

import hashlib

import pytest

from realtime import errors
from realtime.core.access import EVERYTHING, Action, Grant, check_secret, client_id
from tests.cases import each

SECRET = "a-secret-of-22-letters"


def test_everybody_may_read_and_speak_but_not_moderate() -> None:
    EVERYTHING.require(Action.READ, "lobby")
    EVERYTHING.require(Action.SPEAK, "聊天室")
    EVERYTHING.require_all()
    with pytest.raises(errors.NotAllowed, match="moderate in the room lobby"):
        EVERYTHING.require(Action.MODERATE, "lobby")


def test_a_grant_is_for_its_actions_in_rooms_that_match_its_patterns() -> None:
    grant = Grant(frozenset([Action.READ]), rooms=("class-*", "lobby"))
    assert grant.allows(Action.READ, "class-3")
    assert grant.allows(Action.READ, "lobby")
    assert not grant.allows(Action.READ, "lobby2")
    assert not grant.allows(Action.SPEAK, "lobby")
    with pytest.raises(errors.NotAllowed):
        grant.require_all()


def test_a_grant_for_one_client_and_name_is_for_no_other() -> None:
    grant = Grant(client="ada", name="Ada")
    assert grant.identify(None, None, None) == ("ada", "Ada")
    assert grant.identify("ada", "Ada", None) == ("ada", "Ada")
    with pytest.raises(errors.NotAllowed):
        grant.identify("bo", None, None)
    with pytest.raises(errors.NotAllowed):
        grant.identify("ada", "Bo", None)


def test_an_id_is_the_start_of_the_hash_of_its_secret() -> None:
    assert client_id(SECRET) == "key-" + hashlib.sha256(SECRET.encode()).hexdigest()[:32]
    check_secret(client_id(SECRET), SECRET)


@each("wrong", [None, "", 7, SECRET + "x", "x" * 1000, "\ud800", [SECRET]])
def test_only_its_secret_proves_such_an_id(wrong: object) -> None:
    for client in (client_id(SECRET), "key-", "key-ada", client_id(SECRET).upper().lower() + "0"):
        with pytest.raises(errors.WrongSecret):
            check_secret(client, wrong)


def test_a_plain_id_needs_no_secret() -> None:
    check_secret("ada", None)
    check_secret("KEY-ada", None)
    check_secret(None, None)
    assert EVERYTHING.identify("ada", "Ada", None) == ("ada", "Ada")
