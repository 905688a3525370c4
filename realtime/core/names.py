"""The names in a room: a name that another client uses is shown as the second, "Ada (2)".

Anybody can choose any name.  So the names of a room are compared by how they look, and whoever
comes later gets a number, in the order of joining.  A client keeps its number until it quits.  A
message with the name of another client gets one as well, also from somebody who is no member.

The Redis broker does the same in `names.lua`.  Pure: no I/O, no clock, no asyncio.
"""

import re
import unicodedata
from functools import lru_cache

# What nobody sees besides the format characters (Cf): fillers, and selectors of variants.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
_NUMBER = re.compile(r"(?: \(\d+\))?")
_NUMBER_AT_END = re.compile(r" \(\d+\)$")
# Names that stay ready: more than one process has members at a time.
_KEPT_SKELETONS = 20_000


@lru_cache(_KEPT_SKELETONS)
def skeleton(name: str) -> str:
    """Return what two names have in common that look the same: case, width, what nobody sees.

    The term is of UTS #39, which also compares letters of different scripts.
    """
    plain = unicodedata.normalize("NFKC", name).casefold()
    seen = "".join(one for one in plain if unicodedata.category(one) != "Cf")
    return " ".join(_UNSEEN.sub("", seen).split())


def without_number(name: str) -> str:
    """Return a name as its client sends it, if the number in it came from us."""
    return _NUMBER_AT_END.sub("", name)


class Names:
    """The names that the members of one room use."""

    def __init__(self) -> None:
        self._holders: dict[str, str] = {}  # skeleton with its number: client
        self._names: dict[str, str] = {}  # client: skeleton with its number

    def suffix(self, client: str | None, name: str | None) -> str:
        """Return what is shown after `name` if `client` uses it: nothing, or its number."""
        if name is None:
            return ""
        wanted, own = skeleton(name), self._names.get(client or "", "")
        if own.startswith(wanted) and _NUMBER.fullmatch(own, len(wanted)):
            return own[len(wanted) :]
        number, suffix = 1, ""
        while self._holders.get(wanted + suffix, client) != client:
            number += 1
            suffix = f" ({number})"
        return suffix

    def take(self, client: str, name: str, suffix: str) -> None:
        """Let `client` use this name, and no longer the one before."""
        self.release(client)
        self._names[client] = shown = skeleton(name) + suffix
        self._holders[shown] = client

    def release(self, client: str) -> None:
        """Let others use the name of a client that has quit."""
        if shown := self._names.pop(client, None):
            del self._holders[shown]
