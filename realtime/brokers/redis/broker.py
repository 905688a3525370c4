"""The broker for many processes: Redis or Valkey numbers, remembers and announces.

Each step that must not be torn apart is one Lua script.  Pub/sub is only the fast path: it loses
messages by design, so the hub checks every number it hears and reads what is missing.  Whatever the
number of clients, a process has a few connections for rare questions, and to each server that keeps
rooms (see `servers`) one that listens, one that carries what is said, and one for pages of history.
"""

import asyncio
import functools
import json
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from typing import Any, TypeVar

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisClusterException,
    TryAgainError,
)

from realtime.brokers.redis.node import Attempts, Keeper
from realtime.brokers.redis.pipeline import Script
from realtime.brokers.redis.topology import FAILURES, servers_at
from realtime.core.broker import META_TTL_FACTOR, SEEN_SECONDS, Listener, RoomSummary
from realtime.core.events import Cursor, Draft, Event, Member, Receipt
from realtime.core.room import History
from realtime.errors import NoBroker
from realtime.limits import Limits
from realtime.tasks import Supervisor, backoff

log = logging.getLogger(__name__)

T = TypeVar("T")

# A client waits for its answer: within a second it is told 503 rather than left hanging.
COMMAND_SECONDS = 0.8
# The epoch of a room where nothing was said outlives its last reading by so long.
EMPTY_SECONDS = 120
# Events in one page of history: some 100 KB, a millisecond of the server's only thread.
PAGE_EVENTS = 300
# While commands fail, it is logged so often.
COMPLAIN_SECONDS = 10.0
# While something fails, we look after so long which server keeps what, and that may take as long
# as asking several who are frozen.
LOOK_PAUSE_SECONDS, LOOK_SECONDS = 0.25, 2.0
# Nobody may tell us that there is another, so we look in any case after so long.
LOOK_AGAIN_SECONDS = 3.0
# A slot is on its way to another server, or one that was demoted does not keep it any more, or
# nobody has been elected to: it will be soon.
_NOT_NOW = (AskError, TryAgainError, ClusterDownError, ReadOnlyError)


def _script(*parts: str, head: bytes = b"") -> Script:
    folder = files("realtime.brokers.redis")
    return Script(b"\n".join([head, *((folder / f"{part}.lua").read_bytes() for part in parts)]))


class _Scripts:
    """What is done in one step; it is announced with `SPUBLISH` where channels are in slots."""

    def __init__(self, prefix: bytes) -> None:
        head = b"local ANNOUNCE = '%bPUBLISH'" % prefix
        self.publish = _script("log", "publish", head=head)
        self.history = _script("log", "history", head=head)
        self.enter = _script("log", "people", "enter", head=head)
        self.leave = _script("log", "people", "leave", head=head)
        self.sweep = _script("log", "people", "sweep", head=head)
        self.reset = _script("log", "people", "reset", head=head)


# Of processes, and not of a room: nothing is announced.
_REPORTS = _script("reports")


class RedisBroker:
    """The broker behind an address that `servers` can read; raises `ValueError` for another."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._limits = limits
        self._servers = servers_at(url)
        self._scripts = _Scripts(self._servers.prefix)
        self._keepers: dict[str, Keeper] = {}
        self._places: dict[bytes, Keeper | None] = {}  # channel: where we listen to it
        self._attempts = Attempts()  # at what concerns no room
        self._look_wanted = asyncio.Event()
        self._supervisor = Supervisor()
        self._listener: Listener | None = None
        self._complained = math.inf  # until it has begun, whoever begins it is told, and tells
        self._bounds = [
            b"%d" % limits.history_events,
            b"%d" % (limits.history_seconds * 1000),
            b"%d" % (limits.history_seconds * META_TTL_FACTOR * 1000),
            b"%d" % (EMPTY_SECONDS * 1000),
        ]
        self._lease_ms = b"%d" % (limits.lease_seconds * 1000)

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        await self._tried(self._supervisor.wait_for(LOOK_SECONDS, self._servers.start()))
        self._complained = -math.inf
        self._arrange()
        self._supervisor.supervise("look", self._look_for_ever)

    async def close(self) -> None:
        keepers = list(self._keepers.values())
        for attempts in (self._attempts, *(keeper.attempts for keeper in keepers)):
            await attempts.close()
        await self._supervisor.close()
        for keeper in keepers:
            await keeper.close()
        await self._servers.close()

    async def ping(self) -> None:
        self._supervisor.check()
        keepers = list(self._keepers.values())
        answers = await asyncio.gather(*map(self._answers, keepers))
        answering = [keeper for keeper, answers in zip(keepers, answers, strict=True) if answers]
        if not answering:  # while a part of a Cluster is away, the others go on
            raise NoBroker
        if not all(keeper.ear.hearing for keeper in answering):
            raise NoBroker("The hub answers, but its announcements are not heard; try again.")

    async def _answers(self, keeper: Keeper) -> bool:
        keeper.supervisor.check()
        try:
            await self._tried(keeper.answer())
        except NoBroker:
            return False
        return True

    # --- words -----------------------------------------------------------------------------------

    async def publish(self, draft: Draft) -> Receipt:
        keys = _keys(draft.room, b"log", b"meta", b"seen:%b" % draft.id.lower().encode())
        arguments = [draft.kind.encode(), draft.json_tail, b"%d" % (SEEN_SECONDS * 1000)]
        epoch, number, fresh = await self._run(self._scripts.publish, draft.room, keys, arguments)
        return Receipt(Cursor(epoch.decode(), int(number)), draft.id, bool(fresh))

    async def history(self, room: str, after: Cursor) -> History:
        keys = _keys(room, b"log", b"meta")
        arguments = [after.epoch.encode(), b"%d" % after.offset, b"%d" % PAGE_EVENTS]
        script = self._scripts.history
        epoch, top, first, flat = await self._run(script, room, keys, arguments, pages=True)
        events = [
            Event.numbered(kind.decode(), Cursor(epoch.decode(), int(number)), rest)
            for number, kind, rest in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        ]
        more = bool(events) and events[-1].cursor.offset < int(top)
        return History(epoch.decode(), int(top), int(first), events, more)

    async def reset(self, room: str) -> None:
        await self._run_about_people(self._scripts.reset, room, [_new_id()])

    # --- people ----------------------------------------------------------------------------------

    async def enter(self, room: str, member: Member, node_id: str) -> None:
        who = [member.client.encode(), node_id.encode(), member.json_tail]
        await self._run_about_people(self._scripts.enter, room, [*who, _new_id(), self._lease_ms])

    async def leave(self, room: str, client: str, node_id: str | None, seconds: float) -> None:
        who = [client.encode(), (node_id or "").encode()]
        await self._run_about_people(self._scripts.leave, room, [*who, b"%d" % (seconds * 1000)])

    async def sweep(self, room: str) -> None:
        while await self._run_about_people(self._scripts.sweep, room, [_new_id(), self._lease_ms]):
            pass

    async def _run_about_people(self, script: Script, room: str, arguments: list[bytes]) -> Any:
        # By the way of the words, and in one order with them.
        keys = _keys(room, b"log", b"meta", b"members", b"people")
        return await self._run(script, room, keys, arguments)

    async def members(self, room: str) -> Sequence[Member]:
        people = _key(room, b"people")
        return _members(
            await self._at(room, lambda _: self._within(self._servers.questions.hgetall(people)))
        )

    async def rooms(self) -> Sequence[RoomSummary]:
        return await self._tried(self._attempts.make(lambda: self._within(self._rooms_kept())))

    async def _rooms_kept(self) -> Sequence[RoomSummary]:
        names = [
            key.decode().removeprefix("rt:{").removesuffix("}:meta")
            async for key in self._servers.questions.scan_iter(match="rt:{*}:meta", count=1000)
        ]
        pipeline = self._servers.questions.pipeline(transaction=False)
        for room in names:
            pipeline.hget(_key(room, b"meta"), "top")
            pipeline.hgetall(_key(room, b"people"))
            pipeline.exists(_key(room, b"log"))
        answers = await pipeline.execute()
        rows = zip(names, answers[::3], answers[1::3], answers[2::3], strict=True)
        return [
            RoomSummary(room, len(_members(people)), int(top or 0))
            for room, top, people, kept in rows
            if kept or people
        ]

    # --- processes -------------------------------------------------------------------------------

    async def report(self, worker: str, text: bytes, seconds: float) -> None:
        await self._run_reports([worker.encode(), text, b"%d" % (seconds * 1000)])

    async def reports(self) -> Mapping[str, bytes]:
        flat = await self._run_reports([])
        return {worker.decode(): text for worker, text in zip(flat[::2], flat[1::2], strict=True)}

    async def _run_reports(self, arguments: list[bytes]) -> Any:
        # By the way of the pages: no word waits behind it.
        keys = [b"{rt}:workers", b"{rt}:reports"]  # in one slot, as if of a room of that name
        return await self._at("rt", lambda keeper: keeper.pages.run(_REPORTS, keys, arguments))

    # --- asking ----------------------------------------------------------------------------------

    async def _run(
        self, script: Script, room: str, keys: list[bytes], own: list[bytes], *, pages: bool = False
    ) -> Any:
        """Run a script with the arguments that all have, and those of its own after them."""
        arguments = [_channel(room), *self._bounds, *own]

        def run(keeper: Keeper) -> Awaitable[Any]:
            return (keeper.pages if pages else keeper.words).run(script, keys, arguments)

        return await self._at(room, run)

    async def _at(self, room: str, command: Callable[[Keeper], Awaitable[T]]) -> T:
        """Await a command to whoever keeps a room, wherever that is moving to."""
        return await self._tried(self._at_last(_channel(room), command))

    async def _at_last(self, channel: bytes, command: Callable[[Keeper], Awaitable[T]]) -> T:
        until = _now() + COMMAND_SECONDS
        times = 0
        while True:
            keeper = self._keeper_of(channel)
            try:
                return await keeper.attempts.make(functools.partial(command, keeper))
            except _NOT_NOW as error:
                if _now() > until:
                    raise
                if isinstance(error, MovedError):
                    await self._moved(error)
                else:
                    self._look_wanted.set()
            await asyncio.sleep(backoff(times, longest=0.2))
            times += 1

    def _within(self, subscription: Awaitable[T]) -> Awaitable[T]:
        """Give a rare question the time of a command."""
        return self._supervisor.wait_for(COMMAND_SECONDS, subscription)

    async def _tried(self, attempt: Awaitable[T]) -> T:
        """Await an attempt; each way in which it can fail becomes `NoBroker`."""
        try:
            return await attempt
        except FAILURES as error:
            self._look_wanted.set()
            self._complain(error)
            raise NoBroker from error

    def _complain(self, error: Exception) -> None:
        # A full or a frozen hub fails every command: one line tells it as well as a thousand.
        if _now() - self._complained > COMPLAIN_SECONDS:
            self._complained = _now()
            log.error("the hub fails", extra={"error": repr(error)})

    # --- who keeps what --------------------------------------------------------------------------

    def _keeper_of(self, channel: bytes) -> Keeper:
        return self._keeper(self._servers.keeper(channel))

    def _keeper(self, name: str) -> Keeper:
        if name not in self._keepers:
            connect = functools.partial(self._servers.connect, name)
            self._keepers[name] = Keeper(connect, self._servers.prefix, COMMAND_SECONDS, self)
        return self._keepers[name]

    async def _look_for_ever(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                    await self._look_wanted.wait()
            self._look_wanted.clear()
            with suppress(NoBroker):  # and then the next failure makes us look again
                await self._tried(self._supervisor.wait_for(LOOK_SECONDS, self._servers.look()))
            self._arrange()
            await asyncio.sleep(LOOK_PAUSE_SECONDS)

    async def _moved(self, error: MovedError) -> None:
        await self._servers.moved(error)
        self._arrange()

    def _arrange(self) -> None:
        """Listen to each room at whoever keeps it now, and leave those who keep none.

        At once, for one that Sentinel replaced may wake up, and acknowledge what nobody will read.
        """
        names = set(self._servers.keepers())
        for name in names:
            self._keeper(name)
        for channel in self._places:
            self._place(channel)
        for name in self._keepers.keys() - names:
            self._supervisor.spawn("let go", self._keepers.pop(name).close)
        for keeper in self._keepers.values():
            keeper.ear.listen_again()

    # --- listening -------------------------------------------------------------------------------

    def listen(self, room: str) -> None:
        self._places[_channel(room)] = None
        self._place(_channel(room))

    def unlisten(self, room: str) -> None:
        if keeper := self._places.pop(_channel(room), None):
            keeper.ear.unlisten(_channel(room))

    def _place(self, channel: bytes) -> None:
        """Listen to a channel where it is, and nowhere else."""
        try:
            keeper = self._keeper_of(channel)
        except RedisClusterException:  # nobody keeps it, until somebody does
            self._look_wanted.set()
            return
        before, self._places[channel] = self._places[channel], keeper
        if before is not keeper:
            if before is not None:
                before.ear.unlisten(channel)
            keeper.ear.listen(channel)

    def heard(self, channel: bytes, payload: bytes) -> None:
        """An ear has heard something, see `Owner`."""
        assert self._listener is not None
        self._listener.on_publication(_room(channel), _announced(payload))

    def on_subscribed(self, channel: bytes) -> None:
        """An ear begins to hear."""
        assert self._listener is not None
        self._listener.on_subscribed(_room(channel))

    def astray(self, error: MovedError | None) -> None:
        """An ear does not find what it listens to."""
        if error is None:
            self._look_wanted.set()
        else:
            self._supervisor.spawn("follow", lambda: self._follow(error))

    async def _follow(self, error: MovedError) -> None:
        await asyncio.sleep(backoff(0))  # or two who disagree would send us to and fro
        with suppress(NoBroker):
            await self._tried(self._moved(error))


def _now() -> float:
    return time.monotonic()


# --- keys ----------------------------------------------------------------------------------------


def _channel(room: str) -> bytes:
    # The braces are a hash tag: all keys of a room live on one node of a Cluster.
    return b"rt:{%b}" % room.encode()


def _key(room: str, what: bytes) -> bytes:
    return b"%b:%b" % (_channel(room), what)


def _keys(room: str, *what: bytes) -> list[bytes]:
    return [_key(room, one) for one in what]


def _room(channel: bytes) -> str:
    return channel[len(b"rt:{") : -len(b"}")].decode()


def _new_id() -> bytes:
    return str(uuid.uuid4()).encode()


# --- answers -------------------------------------------------------------------------------------


def _announced(payload: bytes) -> Event:
    cursor, kind, rest = payload.split(b" ", 2)
    return Event.numbered(kind.decode(), Cursor.parse(cursor.decode()), rest)


def _members(people: dict[Any, Any]) -> list[Member]:
    return [
        Member(fields["client"], fields["name"], fields["via"])
        for client, rest in people.items()
        if not client.endswith((b"#", b"!")) and client + b"!" not in people
        for fields in [json.loads(b"{%b}" % rest)]
    ]
