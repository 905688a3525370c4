"""Two processes over one broker, on two bad lines, with a clock that stands until it is moved.

Announcements are lost, doubled and late; readings are answered late, in pages, from before a
restart, or not at all; rooms are forgotten and opened again; pages poll, wait, stream, stall,
break and come back at the other process.  Then the lines heal, and everybody must have been shown
everything once, in the one order, or told of the gap that excuses it.
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
from realtime.core.hub import After, Hub, Reader, RoomReplica
from realtime.core.room import History
from realtime.errors import Busy, GoingAway, NoBroker, RealtimeError
from realtime.limits import Limits
from realtime.transports.polling import PollResponse
from tests.properties.clock import Clock
from tests.properties.model import Books, Log
from tests.properties.strategies import examples

CAPACITY = 8
ROOMS = ("a", "b")
# Small, so that answers, pushes and the list of rooms come to their ends soon.
LIMITS = Limits(history_events=CAPACITY, answer_events=3, push_bytes=100, rooms=2)
POLL_SECONDS = 25.0
# The longest pause before a failed reading, and how coarsely the clock is moved.
RETRY_SECONDS = 2.0 + 2.0


# --- the broker ----------------------------------------------------------------------------------


@dataclass(eq=False)
class Question:
    """A reading under way: asked, perhaps read by the broker, and not answered yet."""

    room: str
    after: Cursor
    answer: "asyncio.Future[History]"
    page: History | None = None


class Line:
    """The broker as one process sees it; while it is bad, nothing comes through by itself."""

    def __init__(self, logs: dict[str, Log], page_size: int) -> None:
        self._logs = logs
        self._page_size = page_size
        self.bad = True
        self.heard: set[str] = set()
        self.announcements: list[tuple[str, Event]] = []
        self.confirmations: list[str] = []
        self.questions: list[Question] = []
        # Of each room: the newest that was told, and since when a reading is to be tried again.
        self.told: dict[str, Cursor] = {}
        self.failed: dict[str, float] = {}

    # --- what the hub asks -----------------------------------------------------------------------

    async def start(self, listener: Listener) -> None:
        self.listener = listener

    async def close(self) -> None:
        self.heard.clear()

    def listen(self, room: str) -> None:
        assert room not in self.heard
        self.heard.add(room)
        self.confirmations.append(room)
        if not self.bad:
            asyncio.get_running_loop().call_soon(self.confirm)

    def unlisten(self, room: str) -> None:
        self.heard.remove(room)
        self.told.pop(room, None)
        self.failed.pop(room, None)

    async def history(self, room: str, after: Cursor) -> History:
        self.failed.pop(room, None)
        if not self.bad:
            return self._logs[room].page(after, self._page_size)
        question = Question(room, after, asyncio.get_running_loop().create_future())
        self.questions.append(question)
        try:
            return await question.answer
        finally:
            self.questions.remove(question)

    # --- what becomes of it ----------------------------------------------------------------------

    def announce(self, room: str, event: Event) -> None:
        if room not in self.heard:
            return
        self.announcements.append((room, event))
        if not self.bad:
            self.deliver(-1, again=False)

    def deliver(self, place: int, again: bool) -> None:
        room, event = self.announcements[place % len(self.announcements)]
        if not again:
            self.lose(place)
        log, told = self._logs[room], self.told.get(room, event.cursor)
        if room in self.heard:
            self.told[room] = max(told, event.cursor, key=log.order)
        self.listener.on_publication(room, event)

    def lose(self, place: int) -> None:
        del self.announcements[place % len(self.announcements)]

    def confirm(self) -> None:
        """A subscription is confirmed; it may have ended meanwhile."""
        if self.confirmations:
            self.listener.on_subscribed(self.confirmations.pop(0))

    def look_up(self, question: Question) -> None:
        """The broker reads its log; the answer has not arrived."""
        question.page = self._logs[question.room].page(question.after, self._page_size)

    def answer(self, question: Question) -> None:
        if question.page is None:
            self.look_up(question)
        if not question.answer.done():
            question.answer.set_result(cast(History, question.page))

    def fail(self, question: Question) -> None:
        if not question.answer.done():
            self.failed[question.room] = asyncio.get_running_loop().time()
            question.answer.set_exception(NoBroker())

    def heal(self) -> None:
        """From now on all is told at once; what was on its way is lost, answers too."""
        self.bad = False
        self.announcements.clear()
        for question in self.questions:
            self.fail(question)
        while self.confirmations:
            self.confirm()


# --- who reads -----------------------------------------------------------------------------------


def lines(event: Event) -> bytes:
    return event.json + b"\n"


def bracketed(event: Event) -> bytes:
    return b"[" + event.json + b"]\n"


FRAMINGS = (Framing(lines, bytes), Framing(bracketed, bytes))


@dataclass(eq=False)
class Person:
    """Somebody in a room, who keeps a cursor and books wherever the next question is asked."""

    log: Log
    room: str
    after: After
    books: Books | None = None
    task: "asyncio.Task[None] | None" = None
    error: Exception | None = None

    @property
    def where(self) -> After:
        return self.after if self.books is None else self.books.cursor

    @property
    def is_busy(self) -> bool:
        return self.task is not None

    def begin(self, asking: Coroutine[Any, Any, None]) -> None:
        self.task = asyncio.create_task(self._ask(asking))

    async def _ask(self, asking: Coroutine[Any, Any, None]) -> None:
        with suppress(Busy, NoBroker, GoingAway):
            await asking

    def stand(self, reader: Reader) -> None:
        """A question was taken: what is said from now on must be shown."""
        if self.books is None:
            assert reader.cursor.epoch in self.log.ever
            self.books = Books(self.log, reader.cursor, forward=True)

    def finish(self) -> None:
        """Give what a question ended with; a failed check is raised here."""
        if self.task is not None and self.task.done():
            task, self.task = self.task, None
            task.result()


class Poller(Person):
    """Asks, waits a while if there is nothing, and asks again, here or elsewhere."""

    reader: Reader | None = None
    waits_in: RoomReplica | None = None
    lost = False

    async def poll(self, hub: Hub) -> None:
        """What the handler of a long poll does, and then what the page does with its answer."""
        self.lost = False
        self.reader = await hub.read(self.room, self.where)
        self.stand(self.reader)
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
        in_vain = reader._replica.room.cursor == cursor
        ended = self.lost or hub.closing
        assert not in_vain or ended or loop.time() - before >= POLL_SECONDS

    def _read(self, body: bytes) -> None:
        told = json.loads(body)
        assert self.books is not None
        self.books.read(json.dumps(event).encode() for event in told["events"])
        assert told["cursor"] == str(self.books.cursor)

    def vanish(self) -> None:
        """The connection breaks: the answer is lost, and the cursor is where it was."""
        self.lost = True
        if self.reader is not None:
            self.reader.cancel()


class Subscriber(Person):
    """Holds a stream, which may refuse, break or burst; comes back with its cursor."""

    stream: "Stream | None" = None

    async def follow(self, hub: Hub, stream: "Stream", hesitation: float) -> None:
        """What the handler of a stream does."""
        reader = await hub.read(self.room, self.where)
        self.stand(reader)
        await asyncio.sleep(hesitation)  # the head is being sent
        stream.broadcaster = await hub.follow(self.room, reader.cursor, stream)
        stream.hub = hub
        self.stream = stream


@dataclass(eq=False)
class Stream:
    """One stream of a follower; it takes `budget` pushes and then refuses, until it is drained."""

    person: Subscriber
    framing: Framing
    budget: int = 1_000_000
    # How it ends at its next push, if it does: one of `ENDS`.
    end: str = ""
    hub: Hub | None = None
    broadcaster: Broadcaster | None = None
    full = False
    over = False

    def push(self, frames: bytes, events: int) -> bool:
        if self.over:
            self.person.error = AssertionError("a stream is pushed to after its end")
        if self.end == "raises":
            raise OSError("as nobody expected")
        self.full = self.budget <= 0 or self.end == "gone"
        if not self.full:
            self.budget -= 1
            self._read(frames, events)
        if self.end:
            self.hang_up()
        return not self.full

    def _read(self, frames: bytes, events: int) -> None:
        told = [line.strip(b"[]") for line in frames.splitlines()]
        weights = [len(event) for event in told if b'"gap"' not in event]
        try:
            assert len(told) == events
            assert sum(weights[:-1]) < LIMITS.push_bytes  # or a slow reader would pin it all
            assert self.person.books is not None
            self.person.books.read(told)
        except Exception as error:  # the audience would take it for a broken stream
            self.person.error = error

    def close(self, error: RealtimeError) -> None:
        self.over = True
        self.person.stream = None

    def drain(self, budget: int) -> None:
        self.budget, self.full = budget, False
        if self.broadcaster is not None:
            self.broadcaster.resume(self)

    def hang_up(self) -> None:
        self.over = True
        self.person.stream = None
        if self.broadcaster is not None:
            self.broadcaster.remove(self)


# --- the machine ---------------------------------------------------------------------------------

PLACES = st.integers(0, 5)
PROCESSES = st.integers(0, 1)
# Mostly one room, so that things meet there.
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
        """Two processes begin, something was said, and some follow already."""
        self.failed = False
        self.runner = asyncio.Runner(loop_factory=Clock)
        self.clock = cast(Clock, self.runner.get_loop())
        # What measures itself must see the same time.
        self.patches = ExitStack()
        self.patches.enter_context(patch("time.monotonic", self.clock.time))
        self.logs = {room: Log(CAPACITY, room) for room in (*ROOMS, "elsewhere")}
        self.lines = [Line(self.logs, page_size) for _ in range(2)]
        self.hubs = [Hub(cast(Broker, line), LIMITS) for line in self.lines]
        self.people: list[Person] = []
        self.said = 0
        self._do(*(hub.start for hub in self.hubs))
        self._do(*(line.heal for line in self.lines))
        for _ in range(before):
            self._do(lambda: self._say("a", None))
        people = [self.a_follower_comes("a", 50) for _ in here]
        for person, (process, framing) in zip(people, here, strict=True):
            self.follow(person, process, framing, 1_000_000, 0)
        for line in self.lines:
            line.bad = True
        return multiple(*people)

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
        """Do something in the loop, and let all happen that follows from it at once."""
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
        for person in self.people:
            person.finish()
            if person.error is not None:
                raise person.error
            if person.books is not None:
                person.books.check()
            self._check_that_nobody_waits_for_nothing(person)
        for hub, line in zip(self.hubs, self.lines, strict=True):
            assert hub._supervisor.failures == 0
            self._check_that_what_is_missing_is_asked_for(hub, line)

    def _check_that_nobody_waits_for_nothing(self, person: Person) -> None:
        """Who can be told something has been told, and stands where he will hear the next."""
        if isinstance(person, Poller) and person.waits_in is not None:
            assert person.reader is not None
            assert any(person.waits_in is hub._replicas.get(person.room) for hub in self.hubs)
            assert person.reader.cursor == person.waits_in.room.cursor
        if isinstance(person, Subscriber) and person.stream is not None:
            stream, books = person.stream, person.books
            assert stream.hub is not None
            replica = stream.hub._replicas[person.room]
            assert stream.broadcaster is replica.broadcaster
            assert stream.full or (books is not None and books.cursor == replica.room.cursor)

    def _check_that_what_is_missing_is_asked_for(self, hub: Hub, line: Line) -> None:
        """A hole is read at once, not at the next comparison; and again soon, if that failed."""
        for room, told in line.told.items():
            order, asked = self.logs[room].order, {question.room for question in line.questions}
            in_step = order(hub._replicas[room].room.cursor) >= order(told)
            assert in_step or room in asked or room in line.failed
        for since in line.failed.values():
            assert self.clock.now - since < RETRY_SECONDS

    # --- the broker ------------------------------------------------------------------------------

    @rule(room=IN_ROOM, count=st.integers(1, 4), heard_by=st.sampled_from([None, 0, 0, 1]))
    def say(self, room: str, count: int, heard_by: int | None) -> None:
        """Say something that one process hears at once, and the other perhaps later."""
        self._do(*(lambda: self._say(room, heard_by) for _ in range(count)))

    def _say(self, room: str, heard_by: int | None) -> None:
        self.said += 1
        event = self.logs[room].say(f"{room} {self.said}")
        for line in self.lines:
            line.announce(room, event)
        if heard_by is not None and self.lines[heard_by].bad and room in self.lines[heard_by].heard:
            self.lines[heard_by].deliver(-1, again=False)

    @rule(room=IN_ROOM, lost=st.sampled_from([0, 1, 3, CAPACITY]))
    def restart(self, room: str, lost: int) -> None:
        """As another server, which lacks the newest if it came back from a snapshot."""
        self.logs[room].rewind(lost)

    @rule(room=IN_ROOM)
    def expire(self, room: str) -> None:
        self.logs[room].expire()

    # --- the lines -------------------------------------------------------------------------------

    @precondition(lambda self: any(line.announcements for line in self.lines))
    @rule(
        process=PROCESSES,
        place=PLACES,
        fate=st.sampled_from(["told", "told", "told and told again", "lost", "all lost"]),
    )
    def an_announcement_is(self, process: int, place: int, fate: str) -> None:
        line = self.lines[process]
        if fate == "all lost":
            line.announcements.clear()
        elif line.announcements and fate == "lost":
            line.lose(place)
        elif line.announcements:
            self._do(lambda: line.deliver(place, again=fate != "told"))

    @rule(process=PROCESSES, room=IN_ROOM)
    def a_subscription_is_confirmed(self, process: int, room: str) -> None:
        """For the first time or again: the connection was made anew, and with it all of them."""
        line = self.lines[process]
        if line.confirmations:
            room = line.confirmations[0]
            self._do(line.confirm)
        elif room in line.heard:
            self._do(lambda: line.listener.on_subscribed(room))
        if room in line.heard:  # what was said before may have been missed
            assert room in {question.room for question in line.questions}

    @precondition(lambda self: any(line.questions for line in self.lines))
    @rule(
        process=PROCESSES,
        place=PLACES,
        fate=st.sampled_from(["looked up", "answered", "failed", "answered to the end"]),
    )
    def a_question_is(self, process: int, place: int, fate: str) -> None:
        line = self.lines[process]
        for _ in range(4 * CAPACITY if fate == "answered to the end" else 1):
            if not line.questions:
                return
            question = line.questions[place % len(line.questions)]
            if fate == "looked up":
                line.look_up(question)
            elif fate == "failed":
                self._do(lambda q=question: line.fail(q))
            else:
                self._do(lambda q=question: line.answer(q))

    # --- time ------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.3, 1.5, 6.0, 30.0, 100.0]))
    def pass_seconds(self, seconds: float) -> None:
        self._do(lambda: self.clock.pass_seconds(seconds))

    # --- people ----------------------------------------------------------------------------------

    @rule(target=pollers, room=IN_ROOM, after=AFTER, process=PROCESSES)
    def a_poller_comes(self, room: str, after: int | None, process: int) -> Poller:
        person = self._welcome(Poller(self.logs[room], room, self._after(room, after)))
        self.poll(person, process)
        return cast(Poller, person)

    @rule(target=subscribers, room=IN_ROOM, after=AFTER)
    def a_follower_comes(self, room: str, after: int | None) -> Subscriber:
        return self._welcome(Subscriber(self.logs[room], room, self._after(room, after)))

    def _after(self, room: str, after: int | None) -> After:
        """From now on, the last so many, or a cursor of a third process, which heard it first."""
        return self.logs[room].cursor if after is None else after

    def _welcome(self, person: Any) -> Any:
        self.people.append(person)
        return person

    @rule(person=pollers, process=PROCESSES)
    def poll(self, person: Poller, process: int) -> None:
        """Ask until there is nothing more to be told at once."""
        for _ in range(3):
            if not person.is_busy:
                self._do(lambda: person.begin(person.poll(self.hubs[process])))

    @rule(person=pollers)
    def vanish(self, person: Poller) -> None:
        if person.is_busy:
            self._do(person.vanish)

    @rule(
        person=subscribers,
        process=PROCESSES,
        framing=st.sampled_from(FRAMINGS),
        budget=st.sampled_from([0, 1, 3, 1_000_000]),
        hesitation=st.sampled_from([0.0, 0.0, 2.0, 90.0]),
    )
    def follow(
        self, person: Subscriber, process: int, framing: Framing, budget: int, hesitation: float
    ) -> None:
        if not person.is_busy and person.stream is None:
            stream = Stream(person, framing, budget)
            self._do(lambda: person.begin(person.follow(self.hubs[process], stream, hesitation)))

    @rule(
        person=subscribers,
        budget=st.sampled_from([1, 2, 1_000_000]),
        end=st.sampled_from(["", "", *ENDS]),
    )
    def drain(self, person: Subscriber, budget: int, end: str) -> None:
        stream = person.stream
        if stream is not None:
            stream.end = end
            self._do(lambda: stream.drain(budget))

    @rule(person=subscribers, fate=st.sampled_from(["full", "soon full", "over", *ENDS]))
    def a_stream_is(self, person: Subscriber, fate: str) -> None:
        stream = person.stream
        if stream is None:
            return
        if fate == "over":
            self._do(stream.hang_up)
        elif fate in ENDS:
            stream.end = fate
        else:
            stream.budget = 0 if fate == "full" else 1

    @rule(process=PROCESSES)
    def somebody_looks_at_another_room(self, process: int) -> None:
        """And takes the place of one that nobody reads."""
        visitor = self._welcome(Poller(self.logs["elsewhere"], "elsewhere", 0))
        self._do(lambda: visitor.begin(visitor.poll(self.hubs[process])))

    # --- the end ---------------------------------------------------------------------------------

    @rule()
    def heal_and_compare(self) -> None:
        """In the end all is well, without a word said and without a subscription made anew."""
        self._do(*(line.heal for line in self.lines))
        # Waits end, readings that failed are tried again, and each room is compared.
        self._do(lambda: self.clock.pass_seconds(POLL_SECONDS + 2))
        self._do(lambda: self.clock.pass_seconds(95))
        assert not any(person.is_busy for person in self.people)
        # Visitors may have come in vain; the rooms all others are in have their places.
        self.people = [person for person in self.people if person.room in ROOMS]
        for person in self.people:
            self._catch_up(person)
        for hub in self.hubs:
            for replica in hub._replicas.values():
                self._check_rest(replica, self.logs[replica.name])
        for person in self.people:
            self._check_that_nothing_is_missing(person)
        for line in self.lines:
            line.bad = True

    def _catch_up(self, person: Person) -> None:
        for turn in range(40):
            if person.books is not None and person.books.cursor == person.log.cursor:
                return
            hub = self.hubs[turn % 2]
            if isinstance(person, Poller):
                self._poll_again(person, hub)
            elif isinstance(person, Subscriber):
                self._reconnect(person, hub)
        raise AssertionError(f"{person} never comes to the end of {person.log.cursor}")

    def _poll_again(self, person: Poller, hub: Hub) -> None:
        self._do(lambda: person.begin(person.poll(hub)))
        self._do(lambda: self.clock.pass_seconds(POLL_SECONDS + 2))

    def _reconnect(self, person: Subscriber, hub: Hub) -> None:
        stream = person.stream
        if stream is None:
            stream = Stream(person, FRAMINGS[0])
            self._do(lambda: person.begin(person.follow(hub, stream, 0)))
        stream.end = ""
        self._do(lambda: stream.drain(1_000_000))
        self._do(lambda: self.clock.pass_seconds(2))

    def _check_rest(self, replica: RoomReplica, log: Log) -> None:
        """It is in step, and nothing of it waits for anything but news."""
        assert replica.room.cursor == log.cursor
        assert replica.room.first == min(log.kept, default=log.top + 1)
        assert not replica._syncing
        assert replica._sync_wanted is None
        assert replica.out_of_sync_since is None
        assert not replica._waiting
        assert not replica.broadcaster._ready
        streams = [person.stream for person in self.people if isinstance(person, Subscriber)]
        assert len(replica.broadcaster) == sum(
            stream is not None and stream.broadcaster is replica.broadcaster for stream in streams
        )

    def _check_that_nothing_is_missing(self, person: Person) -> None:
        """Who was told of no gap has been shown every number since; who was, all that is kept."""
        books = person.books
        assert books is not None
        shown = {cursor.offset for cursor in books.shown if cursor.epoch == books.log.epoch}
        kept = {number for number in books.log.kept if number > books.start.offset}
        assert books.start.epoch == books.log.epoch
        assert kept <= shown

    def close(self) -> None:
        """Everybody is answered, every stream is closed, and nothing goes on."""
        waiting = [person for person in self.people if isinstance(person, Poller)][:3]
        for person in waiting:
            self._do(lambda p=person: p.begin(p.poll(self.hubs[0])))
        for hub in self.hubs:
            self._do(lambda h=hub: h.close())
        assert not any(person.is_busy for person in self.people)
        assert not any(isinstance(p, Subscriber) and p.stream for p in self.people)
        self._do(self._check_tasks)

    def _check_tasks(self) -> None:
        with suppress(RuntimeError):
            assert asyncio.all_tasks() == {asyncio.current_task()}


TestHubMachine = HubMachine.TestCase
TestHubMachine.settings = examples(150, steps=40)
