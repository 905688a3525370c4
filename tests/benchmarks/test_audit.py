"""The audit sees every way to break the promise; one that cannot be displeased proves nothing."""

from typing import Any

from benchmarks.method.audit import audit


def said(id: str, number: int, epoch: str = "e") -> dict[str, Any]:
    return {"kind": "say", "id": id, "cursor": f"{epoch}-{number}"}


def gap(number: int, epoch: str = "f", reason: str = "unknown") -> dict[str, Any]:
    return {"kind": "gap", "reason": reason, "cursor": f"{epoch}-{number}", "missed": None}


ABC = [said("a", 1), said("b", 2), said("c", 3)]


def test_who_was_shown_everything_once_in_order_has_nothing_to_complain_of() -> None:
    result = audit(["a", "b", "c"], {"one": ABC, "other": ABC})
    assert result.clean
    assert str(result) == (
        "3 acknowledged, 2 readers: 0 lost, 0 duplicated, 0 reordered, 0 conflicting; gaps: none"
    )


def test_a_message_that_somebody_was_not_shown_is_lost() -> None:
    result = audit(["a", "b", "c"], {"one": ABC, "other": ABC[:2]})
    assert result.lost == {"other": ["c"]}
    assert not result.clean
    assert str(result).splitlines()[1:] == ["  lost for other: ['c']"]


def test_a_message_that_was_never_acknowledged_may_be_missing() -> None:
    assert audit(["a", "b"], {"one": ABC, "other": ABC[:2]}).clean


def test_what_the_hub_forgot_is_excused_to_whoever_was_told_so() -> None:
    told = [said("a", 1), gap(0), said("c", 1, "f")]
    assert audit(["a", "b", "c"], {"one": told}, excused={"a", "b"}).clean
    silent = [said("a", 1), said("c", 2)]
    assert audit(["a", "b", "c"], {"one": silent}, excused={"a", "b"}).lost == {"one": ["b"]}


def test_a_gap_excuses_nothing_that_was_acknowledged_afterwards() -> None:
    told = [said("a", 1), gap(1), said("d", 2, "f")]
    assert audit(["a", "b", "c"], {"one": told}, excused={"b"}).lost == {"one": ["c"]}


def test_a_message_that_comes_twice_is_doubled() -> None:
    result = audit(["a", "b", "c"], {"one": [*ABC, said("c", 4)]})
    assert result.duplicated == {"one": ["c"]}
    assert not result.clean


def test_what_comes_again_after_a_gap_is_dropped_by_the_page_and_no_double() -> None:
    again = [*ABC, gap(0), said("a", 1, "f"), said("b", 2, "f"), said("c", 3, "f")]
    result = audit(["a", "b", "c"], {"one": again})
    assert result.clean
    assert result.gaps == {"unknown": 1}
    assert audit([], {"one": [*again, said("c", 4, "f")]}).duplicated == {"one": ["c"]}


def test_a_hole_a_step_back_and_an_epoch_without_a_gap_are_misplaced() -> None:
    hole, back, other = said("d", 5), said("d", 2), said("d", 4, "f")
    for wrong in (hole, back, other):
        result = audit(["a", "b", "c"], {"one": [*ABC, wrong]})
        assert result.reordered == {"one": [wrong["cursor"]]}
        assert not result.clean


def test_what_follows_a_gap_must_continue_it() -> None:
    assert audit([], {"one": [gap(7), said("a", 9, "f")]}).reordered == {"one": ["f-9"]}


def test_two_who_saw_different_messages_at_one_place_disagree() -> None:
    other = [said("b", 1), said("a", 2), said("c", 3)]
    # Each order is sound by itself; only the comparison tells.
    assert audit(["a", "b"], {"one": ABC, "other": other}).conflicting == ["e-1", "e-2"]


def test_two_who_saw_two_lives_of_the_log_the_other_way_round_disagree() -> None:
    one = [said("a", 1), gap(0, "f"), said("b", 1, "f")]
    other = [said("b", 1, "f"), gap(0, "e"), said("a", 1)]
    assert not audit(["a", "b"], {"one": one, "other": other}).clean


def test_what_was_said_before_one_came_may_come_with_a_gap() -> None:
    late = [said("c", 3), gap(0), said("a", 1, "f"), said("b", 2, "f"), said("c", 3, "f")]
    early = [*ABC, gap(0), said("a", 1, "f"), said("b", 2, "f"), said("c", 3, "f")]
    assert audit(["c"], {"late": late, "early": early}).clean
