"""The load generator measures what a reader experiences: delays, stalls and lost messages."""

import asyncio
import random
import select
import socket
import time
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Any

import pytest

from benchmarks.load.generator import (
    LoadGenerator,
    ServerUnresponsive,
    VirtualReader,
    clock,
    constant_arrivals,
    gc_paused,
    poisson_arrivals,
    post_message,
)
from benchmarks.load.relay import Relay
from benchmarks.load.workload import Transcript, run_workload
from benchmarks.method.stats import percentile
from benchmarks.method.testbed import ServerUnderTest
from realtime.client import ALL_CLIENTS, post
from realtime.client.http import BadResponse, Endpoint, Refused
from realtime.client.protocols import make_protocol
from realtime.client.sansio import ClientProtocol, Update
from tests.benchmarks.faulty_server import Event, FaultyServer, duplicating, losing, swapping
from tests.conftest import Servers
from tests.server_process import Server


def measure(
    server: FaultyServer, messages: int = 20, rate: float = 100.0, patience: float = 1.0
) -> Transcript:
    with LoadGenerator() as load, gc_paused():
        load.add_readers([make_protocol("sse", Endpoint(server.url), "room")])
        times = constant_arrivals(0.0, rate, messages, random.Random(1))
        return run_workload(load, post_message(server.url, "room", 20), times, patience=patience)


@pytest.fixture
def quiet(servers: Servers) -> Server:
    return servers.get("memory", "--messages-per-second", "0")


def make_reader(transport: str, server: Server, room: str, **options: Any) -> ClientProtocol:
    with ServerUnderTest(server.url) as sut:
        offer = sut.webtransport() if transport == "webtransport" else None
    return make_protocol(transport, Endpoint(server.url), room, offer=offer, **options)


def current_cursor(server: Server, room: str) -> str:
    """Return where a reader starts that misses nothing from now on, even before its first event.

    A reader of `now` that is reset before it has received an event starts at a later `now`.
    """
    response = asyncio.run(post(server.url, room, text="before"))
    cursor: str = response.check(201).json()["cursor"]
    return cursor


# --- time ----------------------------------------------------------------------------------------


def test_a_known_delay_is_measured() -> None:
    with FaultyServer(delay=0.03) as server:
        latencies = measure(server).latencies()
    assert len(latencies) == 20
    assert min(latencies) >= 30
    assert percentile(sorted(latencies), 50) < 60


def test_a_stall_raises_p99_and_delays_every_message_that_was_due_meanwhile() -> None:
    with FaultyServer(stalls={10: 0.25}) as server:
        latencies = sorted(measure(server, messages=100).latencies())
    assert percentile(latencies, 99) >= 200
    # 25 were due during the stall, and waited for 250, 240, 230 … ms.  A generator that waits for
    # responses would have sent one of them.
    assert sum(latency > 50 for latency in latencies) >= 19


def test_a_short_stall_is_the_worst_latency() -> None:
    with FaultyServer(stalls={7: 0.05}) as server:
        assert max(measure(server).latencies()) >= 50


# --- correctness ---------------------------------------------------------------------------------


@pytest.mark.unhurried
def test_a_lost_message_is_counted() -> None:
    with FaultyServer(tamper=losing(7)) as server:
        transcript = measure(server, patience=0.3)
    [lost] = transcript.audit.lost.values()
    assert lost == [[*transcript.sender.cursors][6]]


@pytest.mark.unhurried
def test_a_lost_last_message_is_counted() -> None:
    with FaultyServer(tamper=losing(20)) as server:
        [lost] = measure(server, patience=0.3).audit.lost.values()
    assert len(lost) == 1


@pytest.mark.unhurried
def test_a_duplicate_message_is_counted() -> None:
    with FaultyServer(tamper=duplicating(7)) as server:
        [duplicated] = measure(server).audit.duplicated.values()
    assert len(duplicated) == 1


@pytest.mark.unhurried
def test_messages_out_of_order_are_counted() -> None:
    with FaultyServer(tamper=swapping(7)) as server:
        assert measure(server).audit.reordered


@pytest.mark.unhurried
def test_a_message_rejected_by_an_overloaded_server_is_counted_and_not_lost() -> None:
    with FaultyServer(refused=frozenset({7, 8})) as server:
        transcript = measure(server)
    assert len(transcript.sender.refused) == 2
    assert len(transcript.sender.cursors) == 18
    assert not transcript.audit.lost


@pytest.mark.unhurried
def test_a_message_rejected_for_another_reason_ends_the_measurement() -> None:
    server = FaultyServer(refused=frozenset({7}), status=429)
    with server, pytest.raises(Refused, match="busy"):
        measure(server)


@pytest.mark.unhurried
def test_a_correct_server_has_a_clean_audit() -> None:
    with FaultyServer() as server:
        assert measure(server).audit.clean


# --- every transport of the real server ----------------------------------------------------------


@pytest.mark.unhurried
@pytest.mark.parametrize("new_connection", [False, True])
@pytest.mark.parametrize("transport", ALL_CLIENTS)
def test_every_reader_receives_every_message_once(
    transport: str, new_connection: bool, quiet: Server, room: str
) -> None:
    with LoadGenerator() as load:
        load.add_readers(
            make_reader(
                transport,
                quiet,
                room,
                interval=0.02,
                new_connection_per_request=new_connection,
            )
            for _ in range(20)
        )
        times = poisson_arrivals(0.0, 100.0, 30, random.Random(1))
        transcript = run_workload(load, post_message(quiet.url, room, 50), times)
    assert transcript.audit.clean
    assert len(transcript.latencies()) == 20 * 30
    assert min(transcript.latencies()) > 0
    assert not any(reader.broken for reader in transcript.readers)


@pytest.mark.unhurried
def test_over_tls_every_reader_receives_every_message_once(servers: Servers, room: str) -> None:
    server = servers.get("tls", "--messages-per-second", "0")
    with LoadGenerator() as load:
        load.add_readers(
            make_protocol(transport, Endpoint(server.url), room)
            for transport in ("long_polling", "sse", "websocket")
        )
        times = constant_arrivals(0.0, 100.0, 10, random.Random(1))
        found = run_workload(load, post_message(server.url, room, 1_000), times)
    assert found.audit.clean
    assert len(found.latencies()) == 3 * 10


@pytest.mark.unhurried
@pytest.mark.parametrize("transport", ALL_CLIENTS)
def test_a_reader_that_is_reset_reconnects_and_misses_nothing(
    transport: str, quiet: Server, room: str
) -> None:
    after = current_cursor(quiet, room)
    with LoadGenerator() as load:
        readers = load.add_readers(
            make_reader(transport, quiet, room, after=after, interval=0.02) for _ in range(5)
        )

        def reset_all() -> None:
            for reader in readers:
                reader.reset()

        marks = [(0.1, reset_all), (0.2, reset_all)]
        times = constant_arrivals(0.0, 100.0, 30, random.Random(1))
        transcript = run_workload(load, post_message(quiet.url, room, 50), times, marks=marks)
    assert transcript.audit.clean
    assert len(transcript.latencies()) == 5 * 30


@pytest.mark.unhurried
@pytest.mark.parametrize("transport", ALL_CLIENTS)
def test_a_paused_reader_receives_nothing_and_disturbs_nobody(
    transport: str, quiet: Server, room: str
) -> None:
    with LoadGenerator() as load:
        [stopped] = load.add_readers([make_reader(transport, quiet, room)])
        stopped.pause_reading()
        load.readers.clear()
        load.add_readers([make_protocol("sse", Endpoint(quiet.url), room)])
        transcript = run_workload(load, post_message(quiet.url, room, 50), [0.0, 0.01])
        stopped.close()
    assert not stopped.received
    assert len(transcript.latencies()) == 2


@pytest.mark.unhurried
def test_a_named_error_is_raised(quiet: Server) -> None:
    with LoadGenerator() as load, pytest.raises(Refused, match="bad_room"):
        load.add_readers([make_protocol("sse", Endpoint(quiet.url), "no room")])


@pytest.mark.unhurried
def test_a_reader_rejected_by_an_overloaded_server_retries(servers: Servers) -> None:
    with (
        servers.make("memory", "--connections-per-address", "1") as server,
        LoadGenerator() as load,
    ):
        load.add_readers([make_protocol("sse", Endpoint(server.url), "room")])
        one_too_many = VirtualReader(load, make_protocol("sse", Endpoint(server.url), "room"))
        assert load.run_until(lambda: one_too_many.refused == 1, 5)
        assert not one_too_many.broken


@pytest.mark.unhurried
def test_a_loop_in_which_something_always_waits_still_parses_and_ends(
    quiet: Server, room: str
) -> None:
    """As with more pollers than the server or the generator can serve."""
    ours, other = socket.socketpair()
    with ours, other, LoadGenerator() as load:
        [reader] = load.add_readers([make_reader("sse", quiet, room)])
        other.send(b"x")
        load._epoll.register(ours, select.EPOLLIN)  # nobody reads it
        asyncio.run(post(quiet.url, room, text="x"))
        assert load.run_until(lambda: bool(reader.received), 3600)
        assert load.max_lag > 0.5
        assert not load.run_until(lambda: False, 0.1)


def is_decided(reader: VirtualReader, refused: int) -> bool:
    return bool(reader.protocol.ready) or reader.refused > refused


@pytest.mark.unhurried
def test_a_session_rejected_by_an_overloaded_server_retries(servers: Servers) -> None:
    with (
        servers.make("memory", "--connections-per-address", "1") as server,
        LoadGenerator() as load,
    ):
        protocol = make_reader("webtransport", server, "room")
        [first] = load.add_readers([protocol])
        begin = clock()
        one_too_many = VirtualReader(load, copy(protocol))
        assert load.run_until(lambda: one_too_many.refused == 1, 5)
        first.close()
        # Retry-After is 10 s, which nobody needs to wait for.  The server counts a closed
        # connection until the end of its draining period, so the first attempts may be too early.
        while not one_too_many.protocol.ready and one_too_many.refused < 50:
            [timer] = [timer for timer in load._timers if timer[2] == one_too_many.connect]
            assert begin + 10 <= timer[0] <= clock() + 10
            load._timers.remove(timer)
            load.call_at(clock() + 0.2, one_too_many.connect)
            assert load.run_until(partial(is_decided, one_too_many, one_too_many.refused), 20)
        assert one_too_many.protocol.ready
        assert not one_too_many.broken


@pytest.mark.unhurried
def test_a_session_keeps_few_timers_in_the_loop(quiet: Server, room: str) -> None:
    with LoadGenerator() as load:
        load.add_readers([make_reader("webtransport", quiet, room)])
        times = constant_arrivals(0.0, 100.0, 50, random.Random(1))
        run_workload(load, post_message(quiet.url, room, 50), times)
        assert len(load._timers) <= 5


@pytest.mark.unhurried
def test_a_session_sends_one_acknowledgement_for_a_message(quiet: Server, room: str) -> None:
    """A client that moves its window for each would cost the server two packets more."""
    with LoadGenerator() as load:
        [reader] = load.add_readers([make_reader("webtransport", quiet, room)])
        load.run_for(0.1)
        before = reader.traffic()
        times = constant_arrivals(0.0, 20.0, 20, random.Random(1))
        run_workload(load, post_message(quiet.url, room, 50), times)
        load.run_for(0.1)
        sent = reader.traffic().segments - before.segments
        assert len(reader.received) == 20
    # One for the message and one for the acknowledgement; those that wait share a datagram.
    assert sent <= 2 * 20 + 4


@pytest.mark.unhurried
def test_a_session_that_its_server_ends_is_broken_and_a_paused_one_does_not_notice(
    servers: Servers, room: str
) -> None:
    with servers.make("memory") as server, LoadGenerator() as load:
        reading, paused = load.add_readers(
            make_reader("webtransport", server, room) for _ in range(2)
        )
        paused.pause_reading()
        server.stop()
        assert load.run_until(lambda: reading.broken > 0, 10)
        assert not paused.broken


@pytest.mark.unhurried
def test_a_response_that_is_no_upgrade_is_an_error() -> None:
    with FaultyServer() as server, LoadGenerator() as load, pytest.raises((Refused, BadResponse)):
        load.add_readers([make_protocol("websocket", Endpoint(server.url), "room")])


@pytest.mark.unhurried
def test_an_endpoint_without_a_server_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.load.generator._START_SECONDS", 0.2)
    with LoadGenerator() as load, pytest.raises(ServerUnresponsive, match="1 of 1 readers"):
        load.add_readers([make_protocol("sse", Endpoint("http://127.0.0.1:1"), "room")])


# --- the generator itself ------------------------------------------------------------------------


def test_the_generator_reports_its_own_lateness(quiet: Server, room: str) -> None:
    with LoadGenerator() as load:
        load.add_readers([make_protocol("sse", Endpoint(quiet.url), room)])
        # Something blocks the generator, not the server, for 50 ms.
        transcript = run_workload(
            load,
            post_message(quiet.url, room, 20),
            [0.0, 0.1],
            marks=[(0.09, lambda: time.sleep(0.05))],
        )
    assert max(transcript.sender.late) >= 0.03
    assert load.max_poll_gap >= 0.04
    # And a latency starts when the message was due, whatever the cause of a delay.
    assert max(transcript.latencies()) >= 30


def test_the_time_of_arrival_is_that_of_the_bytes_not_of_the_parser(
    quiet: Server, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoadGenerator() as load, gc_paused():
        readers = load.add_readers(
            make_protocol("sse", Endpoint(quiet.url), room) for _ in range(10)
        )

        def slowly(
            receive_data: Callable[[bytes, float], Sequence[Update]], data: bytes, now: float
        ) -> Sequence[Update]:
            time.sleep(0.02)
            return receive_data(data, now)

        for reader in readers:
            monkeypatch.setattr(
                reader.protocol, "receive_data", partial(slowly, reader.protocol.receive_data)
            )
        asyncio.run(post(quiet.url, room, text="hello"))
        time.sleep(0.2)  # all sockets have it, and none has been read
        load.run_until(lambda: all(reader.received for reader in readers), 5)
    whens = [reader.received[0].when for reader in readers]
    # All were read before the first was parsed: otherwise the last would be 180 ms later.
    assert max(whens) - min(whens) < 0.05


@pytest.mark.unhurried
def test_the_warm_up_is_not_counted(quiet: Server, room: str) -> None:
    with LoadGenerator() as load:
        load.add_readers([make_protocol("sse", Endpoint(quiet.url), room)])
        times = constant_arrivals(0.0, 100.0, 10, random.Random(1))
        transcript = run_workload(load, post_message(quiet.url, room, 20), times, warm_up=4)
    assert len(transcript.latencies()) == 6
    assert transcript.audit.acknowledged == 10


@pytest.mark.unhurried
def test_a_sender_that_continues_is_counted_from_there_and_audited_from_the_start(
    quiet: Server, room: str
) -> None:
    with LoadGenerator() as load:
        load.add_readers([make_protocol("sse", Endpoint(quiet.url), room)])
        spec, times = (
            post_message(quiet.url, room, 20),
            constant_arrivals(0.0, 100.0, 5, random.Random(1)),
        )
        first = run_workload(load, spec, times)
        transcript = run_workload(load, spec, times, sender=first.sender)
    assert len(transcript.latencies()) == 5
    assert transcript.audit.acknowledged == 10
    assert transcript.audit.clean


def test_an_unacknowledged_message_does_not_replace_an_acknowledged_one() -> None:
    """A generator that counts arrivals stops too early, and takes the last message for lost."""

    def one_more(number: int, event: Event) -> list[Event]:
        return [event, {**event, "id": "unknown"}] if number == 1 else [event]

    with FaultyServer(tamper=one_more, lags={3: 0.2}) as server:
        transcript = measure(server, messages=3)
    assert transcript.audit.acknowledged == 3
    assert transcript.audit.lost == {}


@pytest.mark.unhurried
def test_a_connection_that_breaks_is_counted_and_the_reader_reconnects(
    quiet: Server, room: str
) -> None:
    after = current_cursor(quiet, room)
    with Relay(quiet.url) as relay, LoadGenerator() as load:
        [reader] = load.add_readers([make_protocol("sse", Endpoint(relay.url), room, after=after)])
        times = constant_arrivals(0.0, 100.0, 30, random.Random(1))
        marks = [(0.1, lambda: relay.call(relay.proxy.reset_connections))]
        transcript = run_workload(load, post_message(quiet.url, room, 20), times, marks=marks)
    assert reader.broken == 1
    assert transcript.audit.clean


def test_a_message_is_sent_when_it_is_due(quiet: Server, room: str) -> None:
    with LoadGenerator() as load, gc_paused():
        sender = load.open_loop_sender(post_message(quiet.url, room, 20))
        begin = clock() + 0.1
        sender.schedule(begin + 0.01 * number for number in range(20))
        assert load.run_until(lambda: len(sender.cursors) == 20, 5)
    assert min(sender.late) >= 0
    assert percentile(sorted(sender.late), 50) < 0.002


@pytest.mark.unhurried
def test_constant_arrivals_have_a_random_phase() -> None:
    one, other = (constant_arrivals(5.0, 10.0, 100, random.Random(seed)) for seed in (1, 2))
    assert one != other
    assert all(5.0 <= times[0] < 5.1 for times in (one, other))
    assert one[99] - one[0] == pytest.approx(9.9)


@pytest.mark.unhurried
def test_poisson_arrivals_have_the_given_rate() -> None:
    times = poisson_arrivals(0.0, 50.0, 20_000, random.Random(1))
    assert times == sorted(times)
    assert len(times) / times[-1] == pytest.approx(50, rel=0.05)
