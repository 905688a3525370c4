"""A network in one line: every word, every unit, and a sentence for whoever mistakes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.network import Network


@pytest.mark.parametrize("text", ["", "none"])
def test_nothing_is_a_network_too(text: str) -> None:
    assert Network.parse(text) == Network()


def test_every_word_is_understood() -> None:
    text = "rtt=100ms,jitter=0.02s,rate=50kB,buffer=4096,flush=1s,idle=1min,stall=200ms/10s,cut=30s"
    assert Network.parse(text) == Network(
        rtt=0.1,
        jitter=0.02,
        rate=50_000,
        buffer=4096,
        flush=1,
        idle=60,
        stall=0.2,
        every=10,
        cut=30,
    )


@pytest.mark.parametrize(
    ("text", "size"), [("7", 7), ("7B", 7), ("1.5kB", 1500), ("2MB", 2_000_000)]
)
def test_bytes_have_units(text: str, size: int) -> None:
    assert Network.parse(f"rate={text}").rate == size


def test_spaces_around_the_parts_do_not_matter() -> None:
    assert Network.parse("rtt=1s, jitter=2ms") == Network(rtt=1, jitter=0.002)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("rtt", "'rtt'"),
        ("lag=3s", "lag"),
        ("rtt=100", "a time"),
        ("rtt=100kB", "a time"),
        ("rtt=-1s", "a time"),
        ("rtt=0ms", "leave out"),
        ("rtt=nan", "a time"),
        ("rtt=" + "9" * 400 + "s", "leave out"),
        ("rate=10ms", "bytes"),
        ("rate=0.5", "less than a byte"),
        ("rtt=1s,rtt=2s", "twice"),
        ("stall=1s", "how often"),
        ("stall=2s/1s", "never end"),
        ("flush=1s", "buffer"),
        (",", "nothing a network has"),
        ("loss=1%", "nothing a network has"),
    ],
)
def test_what_cannot_be_is_named(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Network.parse(text)


seconds = st.integers(1, 10**7).map(lambda milliseconds: milliseconds / 1000)
sizes = st.integers(1, 10**9)


@given(
    st.builds(
        Network,
        rtt=st.just(0.0) | seconds,
        jitter=st.just(0.0) | seconds,
        rate=st.just(0) | sizes,
        buffer=sizes,
        flush=st.just(0.0) | seconds,
        idle=st.just(0.0) | seconds,
        cut=st.just(0.0) | seconds,
    )
)
def test_what_is_written_is_read_again(network: Network) -> None:
    assert Network.parse(str(network)) == network


def test_the_shortest_text_is_written() -> None:
    text = "rtt=100ms,rate=50000,stall=200ms/10s"
    assert str(Network.parse("stall=0.2s/10s,rate=50kB,rtt=0.1s")) == text
    assert str(Network()) == "none"


def test_the_mean_of_a_round_trip_has_half_the_jitter_of_each_way() -> None:
    assert Network.parse("rtt=100ms,jitter=20ms").mean_rtt == pytest.approx(0.12)
