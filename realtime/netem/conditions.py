"""A network as a line of text: ``rtt=100ms,jitter=20ms`` says what stands between two machines.

The same text on the command line of every benchmark, in result files and on pages; `proxy.py` makes
it true.  Pure: a value, and the one way to read and to write it.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, NamedTuple, Self

# A proxy holds what it buffers in memory, and its bound must be above this; nginx's own
# `proxy_buffers` are 64 KiB per connection.
MOST_BUFFER = 128_000

_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "min": Decimal(60)}
_BYTES = {"": 1, "kB": 1_000, "MB": 1_000_000}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]*)", re.ASCII)


class Stall(NamedTuple):
    """For `seconds` at the end of every `every` seconds, nothing moves."""

    seconds: float
    every: float


@dataclass(frozen=True, slots=True)
class NetworkConditions:
    """What happens to bytes on their way; times are seconds, sizes are bytes, None is off.

    ========  ===============================================================================
    rtt       there and back; half of it each way
    jitter    on top of it for each piece, each way: from nothing to so much, order kept
    rate      bytes a second, in each direction of each connection
    buffer    an answer waits at the proxy until so much of it is there, or its end
    flush     ... or until the server has been silent for so long
    idle      a connection on which nothing has passed for so long is closed
    stall     every so often all traffic stands still for a while: ``200ms/10s``
    cut       each connection is reset so long after it began
    ========  ===============================================================================
    """

    rtt: float = 0.0
    jitter: float = 0.0
    rate: int | None = None
    buffer: int | None = None
    flush: float | None = None
    idle: float | None = None
    stall: Stall | None = None
    cut: float | None = None

    @property
    def mean_rtt(self) -> float:
        """A round trip on average: each way has half the jitter, in the mean."""
        return self.rtt + self.jitter

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``name=value,name=value``, or ``none``; raises ValueError, which says what to do."""
        values: dict[str, Any] = {}
        for part in [] if text.strip() in ("", "none") else text.split(","):
            name, equals, value = part.strip().partition("=")
            if name not in _READ or not equals:
                raise ValueError(f"{part.strip()!r}: write name=value with one of {_NAMES}")
            if name in values:
                raise ValueError(f"{name} is given twice: leave one out")
            try:
                values[name] = _READ[name](value)
            except ValueError as error:
                raise ValueError(f"{name}={value}: {error}") from None
        if "flush" in values and "buffer" not in values:
            raise ValueError("flush is about what buffer holds: give buffer=4096 too")
        return cls(**values)

    def __str__(self) -> str:
        """The text that `parse` reads as this very value."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        parts = [f"{name}={_WRITE[name](value)}" for name, value in values if value]
        return ",".join(parts) or "none"

    def after_stall(self, at: float) -> float:
        """When something moves that would have moved at `at`.

        Counted by the clock and not from a connection's beginning, so that all stand still at once.
        """
        if self.stall is None:
            return at
        left = self.stall.every - at % self.stall.every
        return at + left if left <= self.stall.seconds else at


# --- reading -------------------------------------------------------------------------------------


def _time(text: str) -> float:
    number, unit = _amount(text)
    if unit not in _SECONDS:
        raise ValueError(f"a time is a number with its unit, {', '.join(_SECONDS)}: like 100ms")
    return _positive(float(number * _SECONDS[unit]))


def _size(text: str) -> int:
    number, unit = _amount(text)
    if unit not in _BYTES:
        raise ValueError("a size is a number of bytes, or of kB or MB: like 4096 or 50kB")
    size = _positive(float(number * _BYTES[unit]))
    if size != int(size):
        raise ValueError("there is no part of a byte")
    return int(size)


def _buffer(text: str) -> int:
    size = _size(text)
    if size > MOST_BUFFER:
        raise ValueError(f"the proxy holds at most {_write_size(MOST_BUFFER)} of an answer")
    return size


def _stall(text: str) -> Stall:
    length, slash, every = text.partition("/")
    if not slash:
        raise ValueError("say how long, and how often: like 200ms/10s")
    stall = Stall(_time(length), _time(every))
    if stall.seconds >= stall.every:
        raise ValueError("it must be over before the next one: like 200ms/10s")
    return stall


def _amount(text: str) -> tuple[Decimal, str]:
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError("a value is a number above 0 and a unit: like 100ms or 50kB")
    return Decimal(match[1]), match[2]


def _positive(amount: float) -> float:
    if not 0 < amount < math.inf:
        raise ValueError("the number must be above 0 and finite; to switch it off, leave it out")
    return amount


# --- writing -------------------------------------------------------------------------------------


def _write_time(seconds: float) -> str:
    # As a decimal: 0.07 * 1000 is not 70 for a float, and the text would not be what was read.
    number = Decimal(repr(seconds))
    number, unit = (number, "s") if number >= 1 else (number * 1000, "ms")
    return f"{number.normalize():f}{unit}"


def _write_size(size: int) -> str:
    unit = next(unit for unit in ("MB", "kB", "") if size % _BYTES[unit] == 0)
    return f"{size // _BYTES[unit]}{unit}"


def _write_stall(stall: Stall) -> str:
    return f"{_write_time(stall.seconds)}/{_write_time(stall.every)}"


_READ: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("rtt", "jitter", "flush", "idle", "cut"), _time),
    "rate": _size,
    "buffer": _buffer,
    "stall": _stall,
}
_WRITE: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("rtt", "jitter", "flush", "idle", "cut"), _write_time),
    "rate": _write_size,
    "buffer": _write_size,
    "stall": _write_stall,
}
_NAMES = ", ".join(field.name for field in fields(NetworkConditions))
