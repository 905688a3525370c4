"""A network in one line of text: ``rtt=100ms,jitter=20ms,rate=50kB``.

Pure: what the words mean is done by the proxy.  See `Network` for them all.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

# Fractions: 43 times 0.001 is not 0.043.
_TIMES = {"ms": Fraction(1, 1000), "s": Fraction(1), "min": Fraction(60)}
_SIZES = {"": Fraction(1), "B": Fraction(1), "kB": Fraction(1000), "MB": Fraction(1_000_000)}
_MOST = 10**12
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)")
_HELP = "say for example rtt=100ms,jitter=20ms,rate=50kB,buffer=4kB,flush=1s,idle=60s,cut=30s"


@dataclass(frozen=True, slots=True)
class Network:
    """What lies between a client and a server; seconds and bytes, and 0 is: nothing of the kind.

    `rtt`: a round trip; half of it each way, and one more before the first bytes of a connection.
    `jitter`: up to so much more for each piece, each way; the order is kept, as TCP keeps it.
    `rate`: bytes a second, each way, for each connection.
    `buffer`: a proxy that collects so much of a response before it sends it on, or all of it.
    `flush`: what it has collected goes on when nothing more came for so long.
    `idle`: a connection on which nothing has passed for so long is ended, as proxies do.
    `stall`, `every`: once in `every` seconds nothing passes for `stall`, as when a packet is lost.
    `cut`: every connection is reset when it is so old.
    """

    rtt: float = 0.0
    jitter: float = 0.0
    rate: int = 0
    buffer: int = 0
    flush: float = 0.0
    idle: float = 0.0
    stall: float = 0.0
    every: float = 0.0
    cut: float = 0.0

    @property
    def mean_rtt(self) -> float:
        """A round trip on average: each way has half the jitter, in the mean."""
        return self.rtt + self.jitter

    @classmethod
    def parse(cls, text: str) -> "Network":
        """Read ``name=value`` parts with commas between, or ``none``; raises ValueError."""
        values: dict[str, Any] = {}
        for part in text.split(",") if text not in ("", "none") else []:
            name, equals, value = part.strip().partition("=")
            if not equals or name not in _PARSERS:
                raise ValueError(f"{part.strip()!r} is nothing a network has; {_HELP}")
            if name in values:
                raise ValueError(f"{name} is said twice; {_HELP}")
            values[name] = _PARSERS[name](value)
        if "stall" in values:
            values["stall"], values["every"] = values["stall"]
        if values.get("flush") and not values.get("buffer"):
            raise ValueError("flush is about a buffer, and there is none; say buffer=4kB too")
        return cls(**values)

    def __str__(self) -> str:
        """The shortest text that means the same."""
        parts = []
        for one in fields(self):
            value = getattr(self, one.name)
            if value and one.name != "every":
                shown = str(value) if one.name in ("rate", "buffer") else _time(value)
                shown += f"/{_time(self.every)}" if one.name == "stall" else ""
                parts.append(f"{one.name}={shown}")
        return ",".join(parts) or "none"


def _time(seconds: float) -> str:
    return f"{seconds:.10g}s" if seconds >= 1 else f"{1000 * seconds:.10g}ms"


def _seconds(text: str) -> float:
    return _quantity(text, _TIMES, "a time, like 100ms or 2s")


def _bytes(text: str) -> int:
    value = _quantity(text, _SIZES, "a number of bytes, like 4096 or 50kB")
    if value < 1:
        raise ValueError(f"{text!r} is less than a byte")
    return int(value)


def _stall(text: str) -> tuple[float, float]:
    length, slash, every = text.partition("/")
    if not slash:
        raise ValueError("stall needs to know how often, like stall=200ms/10s")
    stall = _seconds(length), _seconds(every)
    if stall[0] >= stall[1]:
        raise ValueError(f"stall={text} would never end")
    return stall


def _quantity(text: str, units: Mapping[str, Fraction], kind: str) -> float:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        raise ValueError(f"{text!r} is not {kind}")
    value = Fraction(match[1]) * units[match[2]]
    if not 0 < value < _MOST:
        raise ValueError(f"{text!r} is nothing or too much; leave out what is not to be")
    return float(value)


_PARSERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("rtt", "jitter", "flush", "idle", "cut"), _seconds),
    **dict.fromkeys(("rate", "buffer"), _bytes),
    "stall": _stall,
}
