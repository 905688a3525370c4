"""The models, compared with simulations that do not use their formulas, and with the RFCs."""

import random
from statistics import fmean

import pytest

from benchmarks.method import theory
from benchmarks.method.theory import LatencyModel
from tests.cases import each

pytestmark = pytest.mark.unhurried


def simulate_long_poll(times: list[float], rtt: float, blind: float) -> list[float]:
    """Simulate each event: a request waits, gets a response, and the next comes `blind` later.

    Returns the time of each message from the server to the reader.
    """
    took = []
    waiting_from = 0.0
    at = 0
    while at < len(times):
        answered = max(times[at], waiting_from)
        while at < len(times) and times[at] <= answered:
            took.append(answered - times[at] + rtt / 2)
            at += 1
        waiting_from = answered + blind
    return took


def poisson(rate: float, count: int) -> list[float]:
    rng, when, times = random.Random(1), 0.0, []
    for _ in range(count):
        when += rng.expovariate(rate)
        times.append(when)
    return times


@each("fresh", [False, True])
@each("rate", [0.5, 2, 10, 40])
def test_long_polling_at_random_is_as_simulated(rate: float, fresh: bool) -> None:
    rtt = 0.1
    model = theory.long_polling_at_random(rtt, rate, fresh=fresh)
    took = simulate_long_poll(poisson(rate, 40_000), rtt, theory.blind_time(rtt, fresh=fresh))
    assert fmean(took) == pytest.approx(model.mean, rel=0.03)
    at_once = fmean(one <= rtt / 2 + 1e-9 for one in took)
    assert at_once == pytest.approx(model.at_once, abs=0.02)


@each(("rate", "transits"), [(1, (1, 1)), (9.9, (1, 1)), (10.1, (1, 3))])
def test_long_polling_needs_one_transit_and_above_a_rate_up_to_three(
    rate: float, transits: tuple[int, int]
) -> None:
    model = theory.long_polling(0.1, rate)
    assert model.low == pytest.approx(transits[0] * 0.05)
    assert model.high == pytest.approx(transits[1] * 0.05)


def test_two_round_trips_are_those_of_a_new_connection_per_request() -> None:
    assert theory.blind_time(0.1, fresh=True) == 0.2
    assert theory.long_polling(0.1, 6, fresh=True).at_once == 0
    assert theory.long_polling(0.1, 6).at_once == 1


@each(("interval", "rtt"), [(1.0, 0.1), (0.05, 0.1)])
def test_short_polling_is_as_simulated(interval: float, rtt: float) -> None:
    rng = random.Random(1)
    period = max(interval, rtt)
    took = [period * rng.random() + rtt / 2 for _ in range(20_000)]
    model = theory.short_polling(rtt, interval)
    assert fmean(took) == pytest.approx(model.mean, rel=0.02)
    assert sorted(took)[18_000] == pytest.approx(model.quantile(0.9), rel=0.02)


def test_a_stream_needs_one_transit() -> None:
    assert {theory.stream(0.1).quantile(share) for share in (0.0, 0.5, 1.0)} == {0.05}


def test_a_mixture_has_its_quantiles_and_its_mean() -> None:
    wait = LatencyModel(0.5, 10.0, 30.0)
    assert [wait.quantile(share) for share in (0.2, 0.5, 0.75, 1)] == [10, 10, 20, 30]
    assert wait.mean == 15
    assert wait.distribution() == [(10, 0), (10, 0.5), (30, 1)]


@each(("size", "chunk"), [(1, b"1\r\nx\r\n"), (15, b"f\r\n" + b"x" * 15 + b"\r\n"), (16, None)])
def test_a_chunk_has_the_length_of_its_framing(size: int, chunk: bytes | None) -> None:
    assert theory.chunk_bytes(size) == (len(chunk) if chunk else 2 + 2 + 16 + 2)


@each(("size", "head"), [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_a_frame_has_its_header(size: int, head: int) -> None:
    assert theory.frame_bytes(size) == size + head


@each("transport", ["long_polling", "sse", "websocket"])
def test_recovery_needs_two_round_trips(transport: str) -> None:
    assert theory.recovery(transport, 0.1, 1.0).mean == pytest.approx(0.2)


@each("size,packets", [(1, 1), (1165, 1), (1166, 2), (2331, 3)])
def test_a_packet_of_quic_fits_into_1200_bytes(size: int, packets: int) -> None:
    assert theory.quic_packets(size) == packets
    assert theory.quic_stream_bytes(size) == size + packets * 35
    assert theory.quic_stream_bytes(1165) == 1200


def test_what_a_session_sends_for_an_event_is_an_acknowledgement() -> None:
    assert theory.acknowledgement_bytes("webtransport") == 34
    assert theory.acknowledgement_bytes("websocket") == 0
    assert theory.heartbeat_bytes("webtransport") == (34, 36)


def test_recovery_of_short_polling_is_as_simulated() -> None:
    """It requests at 0 and gets a response at rtt; the break comes anywhere in the interval."""
    rtt, interval, rng = 0.1, 1.0, random.Random(1)
    cuts = [interval * rng.random() for _ in range(20_000)]
    took = [2 * rtt + (0 if cut < rtt else interval - cut) for cut in cuts]
    model = theory.recovery("short_polling", rtt, interval)
    assert fmean(took) == pytest.approx(model.mean, rel=0.02)
    assert max(took) == pytest.approx(model.high, rel=0.01)
