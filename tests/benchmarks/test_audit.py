"""The audit finds every violation; an audit that never fails proves nothing."""

from typing import Any

import pytest

from benchmarks.method.audit import audit

pytestmark = pytest.mark.unhurried


def message(id: str, number: int, epoch: str = "e") -> dict[str, Any]:
    return {"kind": "say", "id": id, "cursor": f"{epoch}-{number}"}


def gap(number: int, epoch: str = "f", reason: str = "unknown") -> dict[str, Any]:
    return {"kind": "gap", "reason": reason, "cursor": f"{epoch}-{number}", "missed": None}


ABC = [message("a", 1), message("b", 2), message("c", 3)]


def test_every_message_once_and_in_order_is_clean() -> None:
    result = audit(["a", "b", "c"], {"one": ABC, "other": ABC})
    assert result.clean
    assert str(result) == (
        "3 acknowledged, 2 readers: 0 lost, 0 duplicated, 0 reordered, 0 conflicting; gaps: none"
    )


def test_a_message_that_one_reader_did_not_receive_is_lost() -> None:
    result = audit(["a", "b", "c"], {"one": ABC, "other": ABC[:2]})
    assert result.lost == {"other": ["c"]}
    assert not result.clean
    assert str(result).splitlines()[1:] == ["  lost for other: ['c']"]


def test_a_message_that_was_never_acknowledged_may_be_missing() -> None:
    assert audit(["a", "b"], {"one": ABC, "other": ABC[:2]}).clean


def test_what_the_hub_lost_is_excused_after_a_gap() -> None:
    received = [message("a", 1), gap(0), message("c", 1, "f")]
    assert audit(["a", "b", "c"], {"one": received}, excused={"a", "b"}).clean
    silent = [message("a", 1), message("c", 2)]
    assert audit(["a", "b", "c"], {"one": silent}, excused={"a", "b"}).lost == {"one": ["b"]}


def test_a_gap_excuses_only_the_excused_messages() -> None:
    received = [message("a", 1), gap(1), message("d", 2, "f")]
    assert audit(["a", "b", "c"], {"one": received}, excused={"b"}).lost == {"one": ["c"]}


def test_a_message_that_arrives_twice_is_duplicated() -> None:
    result = audit(["a", "b", "c"], {"one": [*ABC, message("c", 4)]})
    assert result.duplicated == {"one": ["c"]}
    assert not result.clean


def test_history_after_a_gap_is_not_duplicated() -> None:
    again = [*ABC, gap(0), message("a", 1, "f"), message("b", 2, "f"), message("c", 3, "f")]
    result = audit(["a", "b", "c"], {"one": again})
    assert result.clean
    assert result.gaps == {"unknown": 1}
    assert audit([], {"one": [*again, message("c", 4, "f")]}).duplicated == {"one": ["c"]}


def test_a_missing_offset_a_step_back_and_a_new_epoch_are_reordered() -> None:
    hole, back, other = message("d", 5), message("d", 2), message("d", 4, "f")
    for wrong in (hole, back, other):
        result = audit(["a", "b", "c"], {"one": [*ABC, wrong]})
        assert result.reordered == {"one": [wrong["cursor"]]}
        assert not result.clean


def test_events_after_a_gap_must_continue_its_cursor() -> None:
    assert audit([], {"one": [gap(7), message("a", 9, "f")]}).reordered == {"one": ["f-9"]}


def test_different_messages_at_one_cursor_conflict() -> None:
    other = [message("b", 1), message("a", 2), message("c", 3)]
    # Each order is valid by itself; only the comparison finds the conflict.
    assert audit(["a", "b"], {"one": ABC, "other": other}).conflicting == ["e-1", "e-2"]


def test_two_epochs_in_different_orders_conflict() -> None:
    one = [message("a", 1), gap(0, "f"), message("b", 1, "f")]
    other = [message("b", 1, "f"), gap(0, "e"), message("a", 1)]
    assert not audit(["a", "b"], {"one": one, "other": other}).clean


def test_a_late_reader_may_receive_old_messages_after_a_gap() -> None:
    late = [
        message("c", 3),
        gap(0),
        message("a", 1, "f"),
        message("b", 2, "f"),
        message("c", 3, "f"),
    ]
    early = [*ABC, gap(0), message("a", 1, "f"), message("b", 2, "f"), message("c", 3, "f")]
    assert audit(["c"], {"late": late, "early": early}).clean
