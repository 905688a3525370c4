"""Network conditions as text: parsing, writing, and the errors for wrong input."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.netem.conditions import (
    MAX_BUFFER_BYTES,
    MAX_PROBABILITY,
    NetworkConditions,
    Stall,
)
from tests.cases import each


@each(
    ("text", "network"),
    [
        ("none", NetworkConditions()),
        ("", NetworkConditions()),
        ("rtt=100ms", NetworkConditions(rtt=0.1)),
        ("rtt=1.5s", NetworkConditions(rtt=1.5)),
        ("jitter=20ms", NetworkConditions(jitter=0.02)),
        ("rate=50kB", NetworkConditions(rate=50_000)),
        ("rate=1.5MB", NetworkConditions(rate=1_500_000)),
        ("rate=100", NetworkConditions(rate=100)),
        ("loss=2%", NetworkConditions(loss=0.02)),
        ("loss=0.1%", NetworkConditions(loss=0.001)),
        ("rtt=100ms,reorder=50%", NetworkConditions(rtt=0.1, reorder=0.5)),
        ("buffer=4096", NetworkConditions(buffer=4096)),
        ("buffer=4kB,flush=500ms", NetworkConditions(buffer=4000, flush=0.5)),
        ("idle=1min", NetworkConditions(idle_timeout=60)),
        ("stall=200ms/10s", NetworkConditions(stall=Stall(0.2, 10))),
        ("cut=30s", NetworkConditions(reset_after=30)),
        ("cut=30s, rtt=7ms", NetworkConditions(rtt=0.007, reset_after=30)),
    ],
)
def test_a_text_is_parsed(text: str, network: NetworkConditions) -> None:
    assert NetworkConditions.parse(text) == network


@each(
    ("text", "canonical"),
    [
        ("", "none"),
        ("jitter=0.02s,rtt=100.0ms", "rtt=100ms,jitter=20ms"),
        ("rtt=70ms", "rtt=70ms"),
        ("rtt=60s,cut=0.5min", "rtt=60s,cut=30s"),
        ("rate=50000,buffer=4096,flush=1000ms", "rate=50kB,buffer=4096,flush=1s"),
        ("rate=2000kB", "rate=2MB"),
        ("reorder=7.0%,loss=05%,rtt=1s", "rtt=1s,loss=5%,reorder=7%"),
        ("stall=0.2s/0.5min", "stall=200ms/30s"),
    ],
)
def test_equal_conditions_have_one_text(text: str, canonical: str) -> None:
    assert str(NetworkConditions.parse(text)) == canonical


SECONDS = st.floats(min_value=1e-300, max_value=1e300)
PROBABILITY = st.just(0.0) | st.floats(min_value=1e-300, max_value=MAX_PROBABILITY)
NETWORKS = st.builds(
    NetworkConditions,
    rtt=SECONDS | st.just(0.0),
    jitter=SECONDS | st.just(0.0),
    rate=st.none() | st.integers(1, 10**15),
    loss=PROBABILITY,
    reorder=PROBABILITY,
    buffer=st.integers(1, MAX_BUFFER_BYTES),
    flush=st.none() | SECONDS,
    idle_timeout=st.none() | SECONDS,
    stall=st.none()
    | st.tuples(SECONDS, SECONDS).filter(lambda pair: pair[0] < pair[1]).map(lambda p: Stall(*p)),
    reset_after=st.none() | SECONDS,
).filter(lambda network: network.rtt or not network.reorder)


@given(NETWORKS)
def test_conditions_survive_writing_and_parsing(network: NetworkConditions) -> None:
    assert NetworkConditions.parse(str(network)) == network


@each(
    ("text", "message"),
    [
        ("speed=3", "'speed=3': write name=value with one of rtt, jitter, rate"),
        ("rtt", "'rtt': write name=value"),
        ("rtt=1ms,,cut=1s", "'': write name=value"),
        ("rtt=1ms,none", "'none': write name=value"),
        ("rtt=1ms,rtt=2ms", "rtt is given twice"),
        ("rtt=100", "rtt=100: a time is a number with its unit"),
        ("rtt=100m", "a time is a number with its unit, ms, s, min"),
        ("rtt=1kB", "a time is"),
        ("rtt=-1ms", "rtt=-1ms: a value is a number above 0 and a unit"),
        ("rtt=", "a value is a number"),
        ("rtt=nans", "a value is a number"),
        ("rtt=infs", "a value is a number"),
        ("rtt=1e3ms", "a value is a number"),
        ("rtt=٣ms", "a value is a number"),
        ("rtt=0ms", "the number must be above 0"),
        (f"rtt=0.{'0' * 400}1ms", "the number must be above 0"),
        (f"rtt={'9' * 400}s", "finite"),
        ("rate=0", "the number must be above 0"),
        ("rate=5ms", "a size is a number of bytes"),
        ("rate=0.5", "a size is a whole number of bytes"),
        ("rate=50KB", "a size is"),
        ("loss=2", "loss=2: a probability is a percentage: like 2%"),
        ("loss=2ms", "a probability is"),
        ("loss=0%", "the number must be above 0"),
        ("loss=50.1%", "loss=50.1%: it is at most 50%"),
        ("rtt=1s,reorder=100%", "it is at most 50%"),
        ("reorder=2%", "add rtt=100ms"),
        ("rtt=1%", "a time is"),
        ("loss=%", "a value is a number"),
        ("buffer=129kB", "the proxy buffers at most 128kB"),
        ("flush=1s", "add buffer=4096"),
        ("stall=200ms", "write how long and how often"),
        ("stall=10s/10s", "must end before the next one"),
        ("stall=1/10s", "stall=1/10s: a time is"),
    ],
)
def test_an_error_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        NetworkConditions.parse(text)


@each(("at", "moves"), [(0, 0), (7.9, 7.9), (8, 10), (9, 10), (10, 10), (17, 17), (18.5, 20)])
def test_nothing_moves_at_the_end_of_each_period(at: float, moves: float) -> None:
    assert NetworkConditions(stall=Stall(2, 10)).after_stall(at) == moves


def test_without_a_stall_nothing_waits() -> None:
    assert NetworkConditions().after_stall(7) == 7


def test_the_mean_round_trip_includes_half_the_jitter_of_each_way() -> None:
    assert NetworkConditions.parse("rtt=100ms,jitter=20ms").mean_rtt == pytest.approx(0.12)
