"""The load generator sees what a reader would have seen: each delay, each stall, each lost word."""

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial

import pytest

from benchmarks.clients import CLIENTS, post
from benchmarks.clients.http import BadResponse, Refused
from benchmarks.clients.http import Server as Address
from benchmarks.clients.protocols import listener
from benchmarks.load.generator import (
    Crowd,
    Reader,
    Silent,
    at_random,
    clock,
    evenly,
    our_words,
    undisturbed,
)
from benchmarks.load.relay import Relay
from benchmarks.load.workload import Said, talk
from benchmarks.method.stats import percentile
from tests.benchmarks.faulty_server import Event, StrangeServer, doubling, losing, swapping
from tests.conftest import Servers
from tests.server_process import Server


def speak_to(
    server: StrangeServer, messages: int = 20, rate: float = 100.0, patience: float = 1.0
) -> Said:
    with Crowd() as crowd, undisturbed():
        crowd.listen([listener("sse", Address(server.url), "room")])
        times = evenly(0.0, rate, messages, random.Random(1))
        return talk(crowd, our_words(server.url, "room", 20), times, patience=patience)


@pytest.fixture
def quiet(servers: Servers) -> Server:
    return servers.get("memory", "--messages-per-second", "0")


# --- time ----------------------------------------------------------------------------------------


def test_a_known_delay_is_measured() -> None:
    with StrangeServer(delay=0.03) as server:
        latencies = speak_to(server).latencies()
    assert len(latencies) == 20
    assert min(latencies) >= 30
    assert percentile(sorted(latencies), 50) < 60


def test_a_server_that_stalls_shows_it_in_p99_and_in_every_message_that_was_due_meanwhile() -> None:
    with StrangeServer(stalls={10: 0.25}) as server:
        latencies = sorted(speak_to(server, messages=100).latencies())
    assert percentile(latencies, 99) >= 200
    # 25 were due while it stood still, and waited for 250, 240, 230 … ms.  A generator that waits
    # for answers would have said one of them.
    assert sum(latency > 50 for latency in latencies) >= 19


def test_a_short_stall_is_the_worst_latency() -> None:
    with StrangeServer(stalls={7: 0.05}) as server:
        assert max(speak_to(server).latencies()) >= 50


# --- correctness ---------------------------------------------------------------------------------


def test_a_lost_message_is_counted() -> None:
    with StrangeServer(tamper=losing(7)) as server:
        said = speak_to(server, patience=0.3)
    [lost] = said.audit.lost.values()
    assert lost == [[*said.speaker.cursors][6]]


def test_a_lost_last_message_is_counted() -> None:
    with StrangeServer(tamper=losing(20)) as server:
        [lost] = speak_to(server, patience=0.3).audit.lost.values()
    assert len(lost) == 1


def test_a_doubled_message_is_counted() -> None:
    with StrangeServer(tamper=doubling(7)) as server:
        [doubled] = speak_to(server).audit.duplicated.values()
    assert len(doubled) == 1


def test_messages_out_of_turn_are_counted() -> None:
    with StrangeServer(tamper=swapping(7)) as server:
        assert speak_to(server).audit.reordered


def test_a_message_that_was_refused_for_want_of_strength_is_counted_and_not_lost() -> None:
    with StrangeServer(refused=frozenset({7, 8})) as server:
        said = speak_to(server)
    assert len(said.speaker.refused) == 2
    assert len(said.speaker.cursors) == 18
    assert not said.audit.lost


def test_a_message_that_was_refused_for_another_reason_ends_the_measurement() -> None:
    server = StrangeServer(refused=frozenset({7}), status=429)
    with server, pytest.raises(Refused, match="busy"):
        speak_to(server)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    with StrangeServer() as server:
        assert speak_to(server).audit.clean


# --- the six, of the real server -----------------------------------------------------------------


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("transport", CLIENTS)
def test_every_reader_hears_everything_once(
    transport: str, fresh: bool, quiet: Server, room: str
) -> None:
    with Crowd() as crowd:
        crowd.listen(
            listener(transport, Address(quiet.url), room, interval=0.02, fresh=fresh)
            for _ in range(20)
        )
        times = at_random(0.0, 100.0, 30, random.Random(1))
        said = talk(crowd, our_words(quiet.url, room, 50), times)
    assert said.audit.clean
    assert len(said.latencies()) == 20 * 30
    assert min(said.latencies()) > 0
    assert not any(reader.broken for reader in said.readers)


@pytest.mark.parametrize("transport", CLIENTS)
def test_who_is_cut_comes_again_and_has_missed_nothing(
    transport: str, quiet: Server, room: str
) -> None:
    with Crowd() as crowd:
        readers = crowd.listen(
            listener(transport, Address(quiet.url), room, interval=0.02) for _ in range(5)
        )

        def cut() -> None:
            for reader in readers:
                reader.cut()

        marks = [(0.1, cut), (0.2, cut)]
        times = evenly(0.0, 100.0, 30, random.Random(1))
        said = talk(crowd, our_words(quiet.url, room, 50), times, marks=marks)
    assert said.audit.clean
    assert len(said.latencies()) == 5 * 30


@pytest.mark.parametrize("transport", CLIENTS)
def test_who_stops_reading_hears_nothing_more_and_disturbs_nobody(
    transport: str, quiet: Server, room: str
) -> None:
    with Crowd() as crowd:
        [stopped] = crowd.listen([listener(transport, Address(quiet.url), room)])
        stopped.stop_reading()
        crowd.readers.clear()
        crowd.listen([listener("sse", Address(quiet.url), room)])
        said = talk(crowd, our_words(quiet.url, room, 50), [0.0, 0.01])
        stopped.leave()
    assert not stopped.listener.heard
    assert len(said.latencies()) == 2


def test_a_refusal_is_told_by_its_name(quiet: Server) -> None:
    with Crowd() as crowd, pytest.raises(Refused, match="bad_room"):
        crowd.listen([listener("sse", Address(quiet.url), "no room")])


def test_a_reader_to_whom_an_overloaded_server_says_no_comes_again(servers: Servers) -> None:
    with servers.make("memory", "--connections-per-address", "1") as server, Crowd() as crowd:
        crowd.listen([listener("sse", Address(server.url), "room")])
        one_too_many = Reader(crowd, listener("sse", Address(server.url), "room"))
        assert crowd.run(lambda: one_too_many.refused == 1, 5)
        assert not one_too_many.broken


def test_a_websocket_that_is_none_is_told() -> None:
    with StrangeServer() as server, Crowd() as crowd, pytest.raises((Refused, BadResponse)):
        crowd.listen([listener("websocket", Address(server.url), "room")])


def test_where_nobody_listens_is_told_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.load.generator._PATIENCE_SECONDS", 0.2)
    with Crowd() as crowd, pytest.raises(Silent, match="1 of 1 readers"):
        crowd.listen([listener("sse", Address("http://127.0.0.1:1"), "room")])


# --- the generator itself ------------------------------------------------------------------------


def test_it_says_how_late_it_was_itself(quiet: Server, room: str) -> None:
    with Crowd() as crowd:
        crowd.listen([listener("sse", Address(quiet.url), room)])
        # Something keeps the generator, and not the server, for 50 ms.
        said = talk(
            crowd,
            our_words(quiet.url, room, 20),
            [0.0, 0.1],
            marks=[(0.09, lambda: time.sleep(0.05))],
        )
    assert max(said.speaker.late) >= 0.03
    assert crowd.deaf >= 0.04
    # And a latency begins when the message was due, whoever is to blame.
    assert max(said.latencies()) >= 30


def test_time_is_taken_when_bytes_come_and_not_when_they_are_understood(
    quiet: Server, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Crowd() as crowd, undisturbed():
        readers = crowd.listen(listener("sse", Address(quiet.url), room) for _ in range(10))

        def slowly(take: Callable[[bytes, float], float | None], data: bytes, when: float) -> None:
            time.sleep(0.02)
            take(data, when)

        for reader in readers:
            monkeypatch.setattr(
                reader.listener, "take", partial(slowly, reader.listener.take), raising=True
            )
        asyncio.run(post(quiet.url, room, text="hello"))
        time.sleep(0.2)  # it has come to all of them, and nobody has looked yet
        crowd.run(lambda: all(reader.listener.heard for reader in readers), 5)
    whens = [reader.listener.heard[0].when for reader in readers]
    # All were read before the first was understood: else the last would be 180 ms later.
    assert max(whens) - min(whens) < 0.05


def test_what_warms_up_is_not_counted(quiet: Server, room: str) -> None:
    with Crowd() as crowd:
        crowd.listen([listener("sse", Address(quiet.url), room)])
        times = evenly(0.0, 100.0, 10, random.Random(1))
        said = talk(crowd, our_words(quiet.url, room, 20), times, warm_up=4)
    assert len(said.latencies()) == 6
    assert said.audit.acknowledged == 10


def test_a_speaker_who_goes_on_is_counted_from_then_on_and_audited_from_the_first(
    quiet: Server, room: str
) -> None:
    with Crowd() as crowd:
        crowd.listen([listener("sse", Address(quiet.url), room)])
        words, times = our_words(quiet.url, room, 20), evenly(0.0, 100.0, 5, random.Random(1))
        first = talk(crowd, words, times)
        said = talk(crowd, words, times, speaker=first.speaker)
    assert len(said.latencies()) == 5
    assert said.audit.acknowledged == 10
    assert said.audit.clean


def test_what_nobody_acknowledged_stands_for_nothing_that_was() -> None:
    """Who counts what came has enough too early, and takes the last message for lost."""

    def one_more(number: int, event: Event) -> list[Event]:
        return [event, {**event, "id": "of nobody"}] if number == 1 else [event]

    with StrangeServer(tamper=one_more, lags={3: 0.2}) as server:
        said = speak_to(server, messages=3)
    assert said.audit.acknowledged == 3
    assert said.audit.lost == {}


def test_a_connection_that_breaks_is_counted_and_the_reader_comes_again(
    quiet: Server, room: str
) -> None:
    with Relay(quiet.url) as between, Crowd() as crowd:
        [reader] = crowd.listen([listener("sse", Address(between.url), room)])
        times = evenly(0.0, 100.0, 30, random.Random(1))
        marks = [(0.1, lambda: between.call(between.proxy.cut))]
        said = talk(crowd, our_words(quiet.url, room, 20), times, marks=marks)
    assert reader.broken == 1
    assert said.audit.clean


def test_what_is_due_is_said_on_time(quiet: Server, room: str) -> None:
    with Crowd() as crowd, undisturbed():
        speaker = crowd.speaker(our_words(quiet.url, room, 20))
        begin = clock() + 0.1
        speaker.plan(begin + 0.01 * number for number in range(20))
        assert crowd.run(lambda: len(speaker.cursors) == 20, 5)
    assert min(speaker.late) >= 0
    assert percentile(sorted(speaker.late), 50) < 0.002


def test_an_even_schedule_has_a_random_phase() -> None:
    one, other = (evenly(5.0, 10.0, 100, random.Random(seed)) for seed in (1, 2))
    assert one != other
    assert all(5.0 <= times[0] < 5.1 for times in (one, other))
    assert one[99] - one[0] == pytest.approx(9.9)


def test_a_random_schedule_has_the_rate_it_was_asked_for() -> None:
    times = at_random(0.0, 50.0, 20_000, random.Random(1))
    assert times == sorted(times)
    assert len(times) / times[-1] == pytest.approx(50, rel=0.05)
