"""Network conditions as a line of text: ``rtt=100ms,jitter=20ms``.

The same text is used on the command line of every benchmark, in result files and on pages;
`proxy.py` applies it.  Pure: a value, and the only way to parse and to write it.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, Self

# The proxy buffers in memory, and its own bound must be above this; nginx's `proxy_buffers` are
# 64 KiB per connection.
MAX_BUFFER_BYTES = 128_000
# From a loss of one half on, the doubled timeouts of TCP have no finite mean.  And where most
# datagrams are late, the others are the ones out of order.
MAX_PROBABILITY = 0.5

_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "min": Decimal(60)}
_BYTES = {"": 1, "kB": 1_000, "MB": 1_000_000}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z%]*)", re.ASCII)


class Stall(NamedTuple):
    """In the last `seconds` of every `every` seconds, nothing moves."""

    seconds: float
    every: float


@dataclass(frozen=True, slots=True)
class NetworkConditions:
    """What happens to bytes on their way; times in seconds, sizes in bytes, None is off.

    ============  ===========================================================================
    rtt           round-trip time; half of it each way
    jitter        random extra delay of each segment, each way: from 0 to this; order is kept
    rate          bytes per second, in each direction of each connection
    loss          probability that a packet is lost, each way: ``2%``; see `link.py` for TCP
    reorder       probability that a datagram is late by half of the rtt, so that others overtake it
    buffer        the proxy holds a response until so many bytes are there, or its end
    flush         ... or until the server has sent nothing for so long
    idle_timeout  a connection without traffic for so long is closed; in text ``idle``
    stall         all traffic stops for a while, regularly: ``200ms/10s``
    reset_after   each connection is reset at this age; in text ``cut``
    ============  ===========================================================================
    """

    rtt: float = 0.0
    jitter: float = 0.0
    rate: int | None = None
    loss: float = 0.0
    reorder: float = 0.0
    buffer: int | None = None
    flush: float | None = None
    idle_timeout: float | None = None
    stall: Stall | None = None
    reset_after: float | None = None

    @property
    def mean_rtt(self) -> float:
        """The mean round-trip time without loss: each way adds half the jitter on average."""
        return self.rtt + self.jitter

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``name=value,name=value``, or ``none``; raises ValueError with what to do."""
        values: dict[str, Any] = {}
        for part in [] if text.strip() in ("", "none") else text.split(","):
            name, equals, value = part.strip().partition("=")
            if name not in _READ or not equals:
                raise ValueError(f"{part.strip()!r}: write name=value with one of {_NAMES}")
            if _FIELDS.get(name, name) in values:
                raise ValueError(f"{name} is given twice: leave one out")
            try:
                values[_FIELDS.get(name, name)] = _READ[name](value)
            except ValueError as error:
                raise ValueError(f"{name}={value}: {error}") from None
        if "flush" in values and "buffer" not in values:
            raise ValueError("flush needs buffer: add buffer=4096")
        if "reorder" in values and "rtt" not in values:
            raise ValueError("reorder needs rtt, by which a datagram is late: add rtt=100ms")
        return cls(**values)

    def __str__(self) -> str:
        """The text that `parse` reads as an equal value."""
        values = ((name, getattr(self, _FIELDS.get(name, name))) for name in _READ)
        parts = [f"{name}={_WRITE[name](value)}" for name, value in values if value]
        return ",".join(parts) or "none"

    def after_stall(self, at: float) -> float:
        """Return when a segment moves that would move at `at` without stalls.

        Stalls follow the clock, not the start of a connection: all connections stall together.
        """
        if self.stall is None:
            return at
        left = self.stall.every - at % self.stall.every
        return at + left if left <= self.stall.seconds else at


# --- parsing -------------------------------------------------------------------------------------


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
        raise ValueError("a size is a whole number of bytes")
    return int(size)


def _probability(text: str) -> float:
    number, unit = _amount(text)
    if unit != "%":
        raise ValueError("a probability is a percentage: like 2%")
    probability = _positive(float(number / 100))
    if probability > MAX_PROBABILITY:
        raise ValueError(f"it is at most {_write_probability(MAX_PROBABILITY)}")
    return probability


def _buffer(text: str) -> int:
    size = _size(text)
    if size > MAX_BUFFER_BYTES:
        raise ValueError(f"the proxy buffers at most {_write_size(MAX_BUFFER_BYTES)}")
    return size


def _stall(text: str) -> Stall:
    length, slash, every = text.partition("/")
    if not slash:
        raise ValueError("write how long and how often: like 200ms/10s")
    stall = Stall(_time(length), _time(every))
    if stall.seconds >= stall.every:
        raise ValueError("a stall must end before the next one starts: like 200ms/10s")
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
    # As a decimal: 0.07 * 1000 is not 70 as a float, and the text would differ from the input.
    number = Decimal(repr(seconds))
    number, unit = (number, "s") if number >= 1 else (number * 1000, "ms")
    return f"{number.normalize():f}{unit}"


def _write_size(size: int) -> str:
    unit = next(unit for unit in ("MB", "kB", "") if size % _BYTES[unit] == 0)
    return f"{size // _BYTES[unit]}{unit}"


def _write_probability(probability: float) -> str:
    return f"{(Decimal(repr(probability)) * 100).normalize():f}%"


def _write_stall(stall: Stall) -> str:
    return f"{_write_time(stall.seconds)}/{_write_time(stall.every)}"


# The short names in text, in the order in which they are written, and their parsers.
_READ: dict[str, Callable[[str], Any]] = {
    "rtt": _time,
    "jitter": _time,
    "rate": _size,
    "loss": _probability,
    "reorder": _probability,
    "buffer": _buffer,
    "flush": _time,
    "idle": _time,
    "stall": _stall,
    "cut": _time,
}
# Two fields have a longer name than their text.
_FIELDS = {"idle": "idle_timeout", "cut": "reset_after"}
_WRITE: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("rtt", "jitter", "flush", "idle", "cut"), _write_time),
    **dict.fromkeys(("loss", "reorder"), _write_probability),
    "rate": _write_size,
    "buffer": _write_size,
    "stall": _write_stall,
}
_NAMES = ", ".join(_READ)
