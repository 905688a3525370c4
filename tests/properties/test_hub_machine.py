"""A state machine: two processes, one log, two unreliable connections, and a simulated clock.

Publications are lost, repeated and late.  Reads of the history return late, in pages, from before
a restart, or never.  Rooms are evicted and opened again.  Clients poll, wait, stream, stall,
disconnect and reconnect to the other process.  Then the connections recover, and each client must
have received every event once, in the one order, or a gap that explains what is missing.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, cast
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
)

from realtime.core.broadcaster import Broadcaster, Framing
from realtime.core.broker import Broker, Listener
from realtime.core.events import Cursor, Event
from realtime.core.hub import COMPARE_SECONDS, After, Hub, Reader, RoomReplica
from realtime.core.room import History
from realtime.errors import Busy, GoingAway, NoBroker, RealtimeError
from realtime.limits import Limits
from realtime.transports.polling import PollResponse
from tests.properties.clock import Clock
from tests.properties.model import Log, ReaderRecord
from tests.properties.strategies import examples

CAPACITY = 8
ROOMS = ("a", "b")
# Small, so that pages, pushes and the number of rooms soon reach their limits.
LIMITS = Limits(history_events=CAPACITY, answer_events=3, push_bytes=100, rooms=2)
POLL_SECONDS = 25.0
# The longest pause before a failed read is retried, in a room without readers, plus the longest
# step of the clock.
RETRY_SECONDS = COMPARE_SECONDS + 2.0


# --- the broker ----------------------------------------------------------------------------------


@dataclass(eq=False)
class HistoryCall:
    """A read of the history in progress: requested, perhaps executed, and not returned yet."""

    room: str
    after: Cursor
    result: "asyncio.Future[History]"
    page: History | None = None


class UnreliableBroker:
    """The broker of one process; while it is `unreliable`, the rules decide what arrives."""

    def __init__(self, logs: dict[str, Log], page_size: int) -> None:
        self._logs = logs
        self._page_size = page_size
        self.unreliable = True
        self.subscribed: set[str] = set()
        self.publications: list[tuple[str, Event]] = []
        self.confirmations: list[str] = []
        self.history_calls: list[HistoryCall] = []
        # For each room: the newest cursor that was delivered, and the time of an unretried failure.
        self.delivered: dict[str, Cursor] = {}
        self.failed: dict[str, float] = {}

    # --- calls of the hub ------------------------------------------------------------------------

    async def start(self, listener: Listener) -> None:
        self.listener = listener

    async def close(self) -> None:
        self.subscribed.clear()

    def listen(self, room: str) -> None:
        assert room not in self.subscribed
        self.subscribed.add(room)
        self.confirmations.append(room)
        if not self.unreliable:
            asyncio.get_running_loop().call_soon(self.confirm)

    def unlisten(self, room: str) -> None:
        self.subscribed.remove(room)
        self.delivered.pop(room, None)
        self.failed.pop(room, None)

    async def history(self, room: str, after: Cursor) -> History:
        self.failed.pop(room, None)
        if not self.unreliable:
            return self._logs[room].page(after, self._page_size)
        call = HistoryCall(room, after, asyncio.get_running_loop().create_future())
        self.history_calls.append(call)
        try:
            return await call.result
        finally:
            self.history_calls.remove(call)

    # --- what happens to them --------------------------------------------------------------------

    def publish(self, room: str, event: Event) -> None:
        if room not in self.subscribed:
            return
        self.publications.append((room, event))
        if not self.unreliable:
            self.deliver(-1, again=False)

    def deliver(self, index: int, again: bool) -> None:
        room, event = self.publications[index % len(self.publications)]
        if not again:
            self.lose(index)
        log, newest = self._logs[room], self.delivered.get(room, event.cursor)
        if room in self.subscribed:
            self.delivered[room] = max(newest, event.cursor, key=log.order)
        self.listener.on_publication(room, event)

    def lose(self, index: int) -> None:
        del self.publications[index % len(self.publications)]

    def confirm(self) -> None:
        """Confirm a subscription, which may have ended meanwhile."""
        if self.confirmations:
            self.listener.on_subscribed(self.confirmations.pop(0))

    def execute(self, call: HistoryCall) -> None:
        """Read the log, but do not return the page yet."""
        call.page = self._logs[call.room].page(call.after, self._page_size)

    def complete(self, call: HistoryCall) -> None:
        if call.page is None:
            self.execute(call)
        if not call.result.done():
            call.result.set_result(cast(History, call.page))

    def fail(self, call: HistoryCall) -> None:
        if not call.result.done():
            if call.room in self.subscribed:  # nobody retries for a room that was forgotten
                self.failed[call.room] = asyncio.get_running_loop().time()
            call.result.set_exception(NoBroker())

    def heal(self) -> None:
        """From now on deliver everything at once; what was in flight is lost, pages too."""
        self.unreliable = False
        self.publications.clear()
        for call in self.history_calls:
            self.fail(call)
        while self.confirmations:
            self.confirm()


# --- the clients ---------------------------------------------------------------------------------


def lines(event: Event) -> bytes:
    return event.json + b"\n"


def bracketed(event: Event) -> bytes:
    return b"[" + event.json + b"]\n"


FRAMINGS = (Framing(lines, bytes), Framing(bracketed, bytes))


@dataclass(eq=False)
class Client:
    """A client of a room: it keeps a cursor and a record, whichever process serves it next."""

    log: Log
    room: str
    after: After
    record: ReaderRecord | None = None
    task: "asyncio.Task[None] | None" = None
    error: Exception | None = None

    @property
    def position(self) -> After:
        return self.after if self.record is None else self.record.cursor

    @property
    def is_busy(self) -> bool:
        return self.task is not None

    def start(self, request: Coroutine[Any, Any, None]) -> None:
        self.task = asyncio.create_task(self._run(request))

    async def _run(self, request: Coroutine[Any, Any, None]) -> None:
        with suppress(Busy, NoBroker, GoingAway):
            await request

    def subscribe(self, reader: Reader) -> None:
        """A request was accepted: everything published from now on must be received."""
        if self.record is None:
            assert reader.cursor.epoch in self.log.ever
            self.record = ReaderRecord(self.log, reader.cursor, forward=True)

    def finish(self) -> None:
        """Finish a request that has ended; a check that failed in it is raised here."""
        if self.task is not None and self.task.done():
            task, self.task = self.task, None
            task.result()


class PollingClient(Client):
    """Polls, waits if there is nothing, and polls again, at either process."""

    reader: Reader | None = None
    waits_in: RoomReplica | None = None
    lost = False

    async def poll(self, hub: Hub) -> None:
        """Do what the handler of a long poll does, then what the page does with the response."""
        self.lost = False
        self.reader = await hub.read(self.room, self.position)
        self.subscribe(self.reader)
        response = self.reader.poll(PollResponse)
        if not response.events:
            self.waits_in = hub._replicas[self.room]
            await self._wait(self.reader, hub)
            self.waits_in = None
            response = self.reader.poll(PollResponse)
        cut = b'"more":true' in response.body
        assert cut is (self.reader.cursor != self.reader._replica.room.cursor)
        if not self.lost:
            self._read(response.body)

    async def _wait(self, reader: Reader, hub: Hub) -> None:
        loop = asyncio.get_running_loop()
        before, cursor = loop.time(), reader.cursor
        await reader.wait(POLL_SECONDS, "long_polling")
        timed_out = reader._replica.room.cursor == cursor
        ended = self.lost or hub.closing
        assert not timed_out or ended or loop.time() - before >= POLL_SECONDS

    def _read(self, body: bytes) -> None:
        response = json.loads(body)
        assert self.record is not None
        self.record.read(json.dumps(event).encode() for event in response["events"])
        assert response["cursor"] == str(self.record.cursor)

    def disconnect(self) -> None:
        """Lose the connection: the response is lost, and the cursor stays where it was."""
        self.lost = True
        if self.reader is not None:
            self.reader.cancel()


class FollowingClient(Client):
    """Has a stream, which may refuse pushes, disconnect or fail; reconnects with its cursor."""

    stream: "Stream | None" = None

    async def follow(self, hub: Hub, stream: "Stream", delay: float) -> None:
        """Do what the handler of a stream does."""
        reader = await hub.read(self.room, self.position)
        self.subscribe(reader)
        await asyncio.sleep(delay)  # the response header is being sent
        stream.broadcaster = await hub.follow(self.room, reader.cursor, stream)
        stream.hub = hub
        self.stream = stream


@dataclass(eq=False)
class Stream:
    """One stream; it accepts `budget` pushes, and then refuses until it is drained."""

    client: FollowingClient
    framing: Framing
    budget: int = 1_000_000
    # How it ends at its next push: one of `ENDS`, or not at all.
    end: str = ""
    hub: Hub | None = None
    broadcaster: Broadcaster | None = None
    full = False
    over = False

    def push(self, frames: bytes, events: int) -> bool:
        if self.over:
            self.client.error = AssertionError("a push to a stream that has ended")
        if self.end == "raises":
            raise OSError("an unexpected error")
        self.full = self.budget <= 0 or self.end == "gone"
        if not self.full:
            self.budget -= 1
            self._read(frames, events)
        if self.end:
            self.hang_up()
        return not self.full

    def _read(self, frames: bytes, events: int) -> None:
        pushed = [line.strip(b"[]") for line in frames.splitlines()]
        sizes = [len(event) for event in pushed if b'"gap"' not in event]
        try:
            assert len(pushed) == events
            # A larger push would stay in memory for as long as its reader is slow.
            assert sum(sizes[:-1]) < LIMITS.push_bytes
            assert self.client.record is not None
            self.client.record.read(pushed)
        except Exception as error:  # the broadcaster would treat it as a failed push
            self.client.error = error

    def close(self, error: RealtimeError) -> None:
        self.over = True
        self.client.stream = None

    def drain(self, budget: int) -> None:
        self.budget, self.full = budget, False
        if self.broadcaster is not None:
            self.broadcaster.resume(self)

    def hang_up(self) -> None:
        self.over = True
        self.client.stream = None
        if self.broadcaster is not None:
            self.broadcaster.remove(self)


# --- the machine ---------------------------------------------------------------------------------

INDEXES = st.integers(0, 5)
PROCESSES = st.integers(0, 1)
# Mostly one room, so that more happens in it at the same time.
IN_ROOM = st.sampled_from(["a", "a", "a", "b"])
AFTER = st.sampled_from([None, 0, 1, 50])
# What may happen to a stream at its next push.
ENDS = ("gone", "gone after it", "raises")


class HubMachine(RuleBasedStateMachine):
    pollers = Bundle("pollers")
    subscribers = Bundle("subscribers")

    @initialize(
        target=subscribers,
        page_size=st.integers(1, CAPACITY + 1),
        before=st.integers(0, CAPACITY + 2),
        here=st.lists(st.tuples(PROCESSES, st.sampled_from(FRAMINGS)), max_size=4),
    )
    def begin(self, page_size: int, before: int, here: list[tuple[int, Framing]]) -> Any:
        """Start two processes, with some history and some subscribers."""
        self.failed = False
        self.runner = asyncio.Runner(loop_factory=Clock)
        self.clock = cast(Clock, self.runner.get_loop())
        # Code that measures durations must use the same clock.
        self.patches = ExitStack()
        self.patches.enter_context(patch("time.monotonic", self.clock.time))
        self.logs = {room: Log(CAPACITY, room) for room in (*ROOMS, "elsewhere")}
        self.brokers = [UnreliableBroker(self.logs, page_size) for _ in range(2)]
        self.hubs = [Hub(cast(Broker, broker), LIMITS) for broker in self.brokers]
        self.clients: list[Client] = []
        self.published = 0
        self._do(*(hub.start for hub in self.hubs))
        self._do(*(broker.heal for broker in self.brokers))
        for _ in range(before):
            self._do(lambda: self._publish("a", None))
        clients = [self.a_following_client_comes("a", 50) for _ in here]
        for client, (process, framing) in zip(clients, here, strict=True):
            self.follow(client, process, framing, 1_000_000, 0)
        for broker in self.brokers:
            broker.unreliable = True
        return multiple(*clients)

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        try:
            if not self.failed:
                self.heal_and_compare()
                self.close()
        finally:
            self.runner.close()
            self.patches.close()

    def _do(self, *actions: Callable[[], Any]) -> None:
        """Run actions in the loop, and everything that follows from them at once."""
        try:
            self.runner.run(self._act(actions))
        except BaseException:
            self.failed = True
            raise

    async def _act(self, actions: Sequence[Callable[[], Any]]) -> None:
        for action in actions:
            result = action()
            if asyncio.iscoroutine(result):
                await result
        await self.clock.settle()
        self._check()

    def _check(self) -> None:
        for client in self.clients:
            client.finish()
            if client.error is not None:
                raise client.error
            if client.record is not None:
                client.record.check()
            self._check_that_nobody_waits_without_reason(client)
        for hub, broker in zip(self.hubs, self.brokers, strict=True):
            assert hub._supervisor.failures == 0
            self._check_that_missing_events_are_requested(hub, broker)

    def _check_that_nobody_waits_without_reason(self, client: Client) -> None:
        """Each client has received all that its process has, and will receive the next event."""
        if isinstance(client, PollingClient) and client.waits_in is not None:
            assert client.reader is not None
            assert any(client.waits_in is hub._replicas.get(client.room) for hub in self.hubs)
            assert client.reader.cursor == client.waits_in.room.cursor
        if isinstance(client, FollowingClient) and client.stream is not None:
            stream, record = client.stream, client.record
            assert stream.hub is not None
            replica = stream.hub._replicas[client.room]
            assert stream.broadcaster is replica.broadcaster
            assert stream.full or (record is not None and record.cursor == replica.room.cursor)

    def _check_that_missing_events_are_requested(self, hub: Hub, broker: UnreliableBroker) -> None:
        """A hole starts a sync at once, not at the next comparison; a failure is retried soon."""
        for room, newest in broker.delivered.items():
            order, requested = self.logs[room].order, {call.room for call in broker.history_calls}
            in_sync = order(hub._replicas[room].room.cursor) >= order(newest)
            assert in_sync or room in requested or room in broker.failed
        for since in broker.failed.values():
            assert self.clock.now - since < RETRY_SECONDS

    # --- the broker ------------------------------------------------------------------------------

    @rule(room=IN_ROOM, count=st.integers(1, 4), delivered_to=st.sampled_from([None, 0, 0, 1]))
    def publish(self, room: str, count: int, delivered_to: int | None) -> None:
        """Publish events that one process receives at once, and the other perhaps later."""
        self._do(*(lambda: self._publish(room, delivered_to) for _ in range(count)))

    def _publish(self, room: str, delivered_to: int | None) -> None:
        self.published += 1
        event = self.logs[room].publish(f"{room} {self.published}")
        for broker in self.brokers:
            broker.publish(room, event)
        if delivered_to is not None:
            broker = self.brokers[delivered_to]
            if broker.unreliable and room in broker.subscribed:
                broker.deliver(-1, again=False)

    @rule(room=IN_ROOM, lost=st.sampled_from([0, 1, 3, CAPACITY]))
    def restart(self, room: str, lost: int) -> None:
        """Restart as another server; one restored from a snapshot lacks the newest events."""
        self.logs[room].rewind(lost)

    @rule(room=IN_ROOM)
    def expire(self, room: str) -> None:
        self.logs[room].expire()

    # --- the connections to the broker -----------------------------------------------------------

    @precondition(lambda self: any(broker.publications for broker in self.brokers))
    @rule(
        process=PROCESSES,
        index=INDEXES,
        fate=st.sampled_from(
            ["delivered", "delivered", "delivered, and again later", "lost", "all lost"]
        ),
    )
    def a_publication_is(self, process: int, index: int, fate: str) -> None:
        broker = self.brokers[process]
        if fate == "all lost":
            broker.publications.clear()
        elif broker.publications and fate == "lost":
            broker.lose(index)
        elif broker.publications:
            self._do(lambda: broker.deliver(index, again=fate != "delivered"))

    @rule(process=PROCESSES, room=IN_ROOM)
    def a_subscription_is_confirmed(self, process: int, room: str) -> None:
        """For the first time, or again: a new connection renews all subscriptions."""
        broker = self.brokers[process]
        if broker.confirmations:
            room = broker.confirmations[0]
            self._do(broker.confirm)
        elif room in broker.subscribed:
            self._do(lambda: broker.listener.on_subscribed(room))
        if room in broker.subscribed:  # earlier events may have been missed
            assert room in {call.room for call in broker.history_calls}

    @precondition(lambda self: any(broker.history_calls for broker in self.brokers))
    @rule(
        process=PROCESSES,
        index=INDEXES,
        fate=st.sampled_from(["executed", "completed", "failed", "completed to the end"]),
    )
    def a_history_call_is(self, process: int, index: int, fate: str) -> None:
        broker = self.brokers[process]
        for _ in range(4 * CAPACITY if fate == "completed to the end" else 1):
            if not broker.history_calls:
                return
            call = broker.history_calls[index % len(broker.history_calls)]
            if fate == "executed":
                broker.execute(call)
            elif fate == "failed":
                self._do(lambda c=call: broker.fail(c))
            else:
                self._do(lambda c=call: broker.complete(c))

    # --- time ------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.3, 1.5, 6.0, 30.0, 100.0]))
    def pass_seconds(self, seconds: float) -> None:
        self._do(lambda: self.clock.pass_seconds(seconds))

    # --- the clients -----------------------------------------------------------------------------

    @rule(target=pollers, room=IN_ROOM, after=AFTER, process=PROCESSES)
    def a_polling_client_comes(self, room: str, after: int | None, process: int) -> PollingClient:
        client = self._add_client(PollingClient(self.logs[room], room, self._after(room, after)))
        self.poll(client, process)
        return cast(PollingClient, client)

    @rule(target=subscribers, room=IN_ROOM, after=AFTER)
    def a_following_client_comes(self, room: str, after: int | None) -> FollowingClient:
        return self._add_client(FollowingClient(self.logs[room], room, self._after(room, after)))

    def _after(self, room: str, after: int | None) -> After:
        """The last events, or the cursor of a third process, which received them first."""
        return self.logs[room].cursor if after is None else after

    def _add_client(self, client: Any) -> Any:
        self.clients.append(client)
        return client

    @rule(client=pollers, process=PROCESSES)
    def poll(self, client: PollingClient, process: int) -> None:
        """Poll until nothing more is available at once."""
        for _ in range(3):
            if not client.is_busy:
                self._do(lambda: client.start(client.poll(self.hubs[process])))

    @rule(client=pollers)
    def disconnect(self, client: PollingClient) -> None:
        if client.is_busy:
            self._do(client.disconnect)

    @rule(
        client=subscribers,
        process=PROCESSES,
        framing=st.sampled_from(FRAMINGS),
        budget=st.sampled_from([0, 1, 3, 1_000_000]),
        delay=st.sampled_from([0.0, 0.0, 2.0, 90.0]),
    )
    def follow(
        self, client: FollowingClient, process: int, framing: Framing, budget: int, delay: float
    ) -> None:
        if not client.is_busy and client.stream is None:
            stream = Stream(client, framing, budget)
            self._do(lambda: client.start(client.follow(self.hubs[process], stream, delay)))

    @rule(
        client=subscribers,
        budget=st.sampled_from([1, 2, 1_000_000]),
        end=st.sampled_from(["", "", *ENDS]),
    )
    def drain(self, client: FollowingClient, budget: int, end: str) -> None:
        stream = client.stream
        if stream is not None:
            stream.end = end
            self._do(lambda: stream.drain(budget))

    @rule(client=subscribers, fate=st.sampled_from(["full", "soon full", "over", *ENDS]))
    def a_stream_is(self, client: FollowingClient, fate: str) -> None:
        stream = client.stream
        if stream is None:
            return
        if fate == "over":
            self._do(stream.hang_up)
        elif fate in ENDS:
            stream.end = fate
        else:
            stream.budget = 0 if fate == "full" else 1

    @rule(process=PROCESSES)
    def a_client_reads_another_room(self, process: int) -> None:
        """So that the process evicts a room that nobody reads."""
        visitor = self._add_client(PollingClient(self.logs["elsewhere"], "elsewhere", 0))
        self._do(lambda: visitor.start(visitor.poll(self.hubs[process])))

    # --- recovery --------------------------------------------------------------------------------

    @rule()
    def heal_and_compare(self) -> None:
        """Everything recovers, without a new message and without a renewed subscription."""
        self._do(*(broker.heal for broker in self.brokers))
        # Waits time out, failed syncs are retried, and each room is compared.
        self._do(lambda: self.clock.pass_seconds(POLL_SECONDS + 2))
        self._do(lambda: self.clock.pass_seconds(95))
        assert not any(client.is_busy for client in self.clients)
        # Clients of the other room may have found no capacity; the rooms of all others are open.
        self.clients = [client for client in self.clients if client.room in ROOMS]
        for client in self.clients:
            self._catch_up(client)
        for hub in self.hubs:
            for replica in hub._replicas.values():
                self._check_idle(replica, self.logs[replica.name])
        for client in self.clients:
            self._check_that_nothing_is_missing(client)
        for broker in self.brokers:
            broker.unreliable = True

    def _catch_up(self, client: Client) -> None:
        for turn in range(40):
            if client.record is not None and client.record.cursor == client.log.cursor:
                return
            hub = self.hubs[turn % 2]
            if isinstance(client, PollingClient):
                self._poll_again(client, hub)
            elif isinstance(client, FollowingClient):
                self._reconnect(client, hub)
        raise AssertionError(f"{client} never reaches {client.log.cursor}")

    def _poll_again(self, client: PollingClient, hub: Hub) -> None:
        self._do(lambda: client.start(client.poll(hub)))
        self._do(lambda: self.clock.pass_seconds(POLL_SECONDS + 2))

    def _reconnect(self, client: FollowingClient, hub: Hub) -> None:
        stream = client.stream
        if stream is None:
            stream = Stream(client, FRAMINGS[0])
            self._do(lambda: client.start(client.follow(hub, stream, 0)))
        stream.end = ""
        self._do(lambda: stream.drain(1_000_000))
        self._do(lambda: self.clock.pass_seconds(2))

    def _check_idle(self, replica: RoomReplica, log: Log) -> None:
        """The replica is in sync, and waits for nothing but new events."""
        assert replica.room.cursor == log.cursor
        assert replica.room.first == min(log.kept, default=log.top + 1)
        assert not replica._syncing
        assert replica._sync_wanted is None
        assert replica.out_of_sync_since is None
        assert not replica._waiting
        assert not replica.broadcaster._ready
        streams = [client.stream for client in self.clients if isinstance(client, FollowingClient)]
        assert len(replica.broadcaster) == sum(
            stream is not None and stream.broadcaster is replica.broadcaster for stream in streams
        )

    def _check_that_nothing_is_missing(self, client: Client) -> None:
        """A client has received every offset since its start; after a gap, all that is kept."""
        record = client.record
        assert record is not None
        received = {cursor.offset for cursor in record.received if cursor.epoch == record.log.epoch}
        kept = {offset for offset in record.log.kept if offset > record.start.offset}
        assert record.start.epoch == record.log.epoch
        assert kept <= received

    def close(self) -> None:
        """Close: every request ends, every stream is closed, and no task is left."""
        waiting = [client for client in self.clients if isinstance(client, PollingClient)][:3]
        for client in waiting:
            self._do(lambda c=client: c.start(c.poll(self.hubs[0])))
        for hub in self.hubs:
            self._do(lambda h=hub: h.close())
        assert not any(client.is_busy for client in self.clients)
        assert not any(isinstance(c, FollowingClient) and c.stream for c in self.clients)
        self._do(self._check_tasks)

    def _check_tasks(self) -> None:
        with suppress(RuntimeError):
            assert asyncio.all_tasks() == {asyncio.current_task()}


TestHubMachine = HubMachine.TestCase
TestHubMachine.settings = examples(50, steps=40)
