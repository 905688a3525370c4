"""A name that another client uses is shown as the second."""

from realtime.core.names import Names, skeleton
from tests.cases import each


def join(names: Names, client: str, name: str) -> str:
    suffix = names.suffix(client, name)
    names.take(client, name, suffix)
    return name + suffix


def test_names_are_numbered_in_the_order_of_joining() -> None:
    names = Names()
    assert [join(names, client, "Ada") for client in "abc"] == ["Ada", "Ada (2)", "Ada (3)"]
    # Each keeps its number when it renews or speaks, and when another one quits.
    names.release("a")
    assert [names.suffix(client, "Ada") for client in "bc"] == [" (2)", " (3)"]
    assert join(names, "d", "Ada") == "Ada"


def test_a_message_of_somebody_else_gets_a_number() -> None:
    names = Names()
    join(names, "a", "Ada")
    assert names.suffix("a", "Ada") == ""
    assert names.suffix("b", "Ada") == names.suffix(None, "Ada") == " (2)"
    assert names.suffix(None, "Bo") == names.suffix(None, None) == ""


def test_a_name_with_a_number_is_not_given_twice() -> None:
    names = Names()
    assert [join(names, "a", "Ada"), join(names, "b", "Ada (2)")] == ["Ada", "Ada (2)"]
    assert join(names, "c", "Ada") == "Ada (3)"
    assert join(names, "d", "Ada (2)") == "Ada (2) (2)"


def test_a_client_that_renames_itself_frees_its_old_name() -> None:
    names = Names()
    join(names, "a", "Ada")
    assert join(names, "a", "Bo") == "Bo"
    assert join(names, "b", "Ada") == "Ada"


@each(
    "name",
    [
        "ada",
        "ADA",
        "Ａｄａ",
        "A\u200dda",
        "Ada\ufe0f",
        "A\U000e0061da",
        "A\u2061da",
        "Ada ",
        "A\u034fda",
        "A\u180fda",
        "Ada\U000e0100",
        "A\U000e01efda",
    ],
)
def test_names_that_look_the_same_are_the_same(name: str) -> None:
    assert skeleton(name) == skeleton("Ada")


def test_names_that_look_different_are_different() -> None:
    assert len({skeleton(name) for name in ("Ada", "Adá", "Ada 2", "Bo", "聊 天", "聊天")}) == 6
