"""The broker for many processes: Redis or Valkey stores the log and publishes the events.

Each atomic step is one Lua script.  Pub/sub is only the fast path: it loses messages by design, so
the hub checks the offset of every event it receives and reads the missing ones from the log.

Whatever the number of clients, a process has a few connections for rare commands and three to each
server that stores rooms (see `topology`): pub/sub, publishing, and pages of history.
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
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TryAgainError,
)

from realtime.brokers.redis.keys import DEFAULT_PREFIX, Keys
from realtime.brokers.redis.node import CircuitBreaker, RedisNode
from realtime.brokers.redis.pipeline import Script
from realtime.brokers.redis.refusal import denied_command, explain, explain_types
from realtime.brokers.redis.topology import FAILURES, parse_topology
from realtime.core.broker import META_TTL_FACTOR, SEEN_SECONDS, Listener, RoomSummary
from realtime.core.clock import SteadyClock
from realtime.core.events import Cursor, Draft, Event, Member, Receipt
from realtime.core.names import skeleton
from realtime.core.room import History
from realtime.errors import BadCursor, NoBroker
from realtime.limits import Limits
from realtime.tasks import Supervisor, backoff

log = logging.getLogger(__name__)

T = TypeVar("T")

# A client waits for the reply: it must receive 503 within a second and not hang.
COMMAND_SECONDS = 0.8
# The lifetime of the epoch of a room without events, counted from its last read.
EMPTY_ROOM_SECONDS = 120
# Events in one page of history: some 100 KB, a millisecond of the server's only thread.
PAGE_EVENTS = 300
# Rooms of a list whose summaries are read at once: a millisecond or two, as above.
SUMMARIES = 50
# While commands fail without a reply, we log one line per this time.
LOG_INTERVAL_SECONDS = 10.0
# A refusal that continues is logged once; after a pause this long it is a new one.
REFUSAL_PAUSE_SECONDS, MAX_REFUSALS = 60.0, 100
# Redis expires keys by its wall clock, which may step by hours (a time zone, a machine that slept):
# keys live longer than what is in them, which ends by the shared clock.
CLOCK_STEP_SECONDS = 3 * 3600
# The pause after a refresh of the topology, and the time it may take: several frozen servers may
# have to time out one after the other.
REFRESH_PAUSE_SECONDS, REFRESH_TIMEOUT_SECONDS = 0.25, 2.0
# No message announces a new topology, so we also refresh it without a failure, this often.
REFRESH_INTERVAL_SECONDS = 3.0
# Errors that pass soon: a slot is moving to another server, a demoted master does not store it any
# more, or the election of a new master is in progress.
_TRANSIENT = (AskError, TryAgainError, ClusterDownError, ReadOnlyError)


def _script(*parts: str, head: bytes = b"") -> Script:
    folder = files("realtime.brokers.redis")
    return Script(b"\n".join([head, *((folder / f"{part}.lua").read_bytes() for part in parts)]))


class _Scripts:
    """The scripts of a room; `prefix` makes them publish with `SPUBLISH`, in the room's slot."""

    def __init__(self, prefix: bytes) -> None:
        head = b"local PUBLISH = '%bPUBLISH'" % prefix
        self.publish = _script("log", "names", "publish", head=head)
        self.history = _script("log", "history", head=head)
        self.enter = _script("log", "names", "people", "enter", head=head)
        self.leave = _script("log", "names", "people", "leave", head=head)
        self.sweep = _script("log", "names", "people", "sweep", head=head)
        self.reset = _script("log", "names", "people", "reset", head=head)


# These publish no event to a room.
_MEMBERS, _RULES = _script("members"), _script("rules")
# The message that announces a change of rules.
_RULES_CHANGED = b"rules"
_REPORTS, _CLOCK, _CHECK, _TYPES = map(_script, ("reports", "clock", "check", "types"))
_PRESENCE_KEYS = (b"log", b"meta", b"presence", b"members", b"people", b"listed", b"names")
# What a client receives; the reason is for the operator, in the log and at /readyz.
_REFUSED = "The hub refuses the command; its operator finds the reason in the log and at /readyz."


class RedisBroker:
    """The broker at an address that `parse_topology` accepts; raises `ValueError` for others.

    Deployments with different prefixes, or in different databases, do not see each other.
    """

    def __init__(self, url: str, limits: Limits, prefix: str = DEFAULT_PREFIX) -> None:
        self._limits = limits
        self._topology = parse_topology(url)
        self._keys = Keys(prefix, self._topology.database)
        self._scripts = _Scripts(self._topology.prefix)
        self._nodes: dict[str, RedisNode] = {}
        self._subscriptions: dict[bytes, RedisNode | None] = {}  # channel: where we subscribe to it
        self._breaker = CircuitBreaker()  # for commands that concern no single room
        self._refresh_wanted = asyncio.Event()
        self._supervisor = Supervisor()
        self._listener: Listener | None = None
        self._logged_at = -math.inf
        self._refusal = ""  # why Redis refused a command at the last check, if it did
        self._refusals: dict[str, float] = {}  # errors of Redis, and when each occurred last
        self._clock = SteadyClock(limits.lease_seconds)
        self._clock_is_shared = False
        log_ttl = limits.history_seconds + CLOCK_STEP_SECONDS
        meta_ttl = max(limits.history_seconds * META_TTL_FACTOR, log_ttl)
        durations = (limits.history_seconds, log_ttl, meta_ttl, EMPTY_ROOM_SECONDS)
        self._bounds = [
            b"%d" % limits.history_events,
            *(b"%d" % (seconds * 1000) for seconds in durations),
            b"%d" % limits.presence_events,
            b"%d" % limits.room_bytes,
        ]
        self._meta_ttl_ms = b"%d" % (meta_ttl * 1000)
        self._clock_ttl_ms = b"%d" % (2 * meta_ttl * 1000)
        self._lease_ms = b"%d" % (limits.lease_seconds * 1000)

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        starting = self._supervisor.wait_for(REFRESH_TIMEOUT_SECONDS, self._topology.start())
        try:
            await starting
        except FAILURES as error:
            raise NoBroker from error
        self._rebalance()
        with suppress(
            NoBroker
        ):  # a Redis that refuses may be repaired: until then we are not ready
            await self._sync_clock()
        await self._find_refusal()
        self._supervisor.supervise("refresh", self._refresh_loop)
        self._supervisor.supervise("clock", self._clock_loop)

    async def close(self) -> None:
        nodes = list(self._nodes.values())
        for breaker in (self._breaker, *(node.breaker for node in nodes)):
            await breaker.close()
        await self._supervisor.close()
        for node in nodes:
            await node.close()
        await self._topology.close()

    def drop_subscriptions(self) -> None:
        """Lose every pub/sub connection; for the fault controls."""
        for node in self._nodes.values():
            node.pubsub.drop()

    async def ping(self) -> None:
        self._supervisor.check()
        nodes = list(self._nodes.values())
        replies = await asyncio.gather(*map(self._is_up, nodes))
        up = [node for node, reply in zip(nodes, replies, strict=True) if reply]
        if not up:  # while some servers of a Cluster are down, the other rooms work
            raise NoBroker
        if refusal := await self._find_refusal():
            raise NoBroker(f"The hub replies, but {refusal}.")
        for node in up:
            if not node.pubsub.healthy:
                reason = node.pubsub.refusal or "try again"
                raise NoBroker(
                    f"The hub replies, but its pub/sub messages do not arrive: {reason}."
                )

    async def _is_up(self, node: RedisNode) -> bool:
        node.supervisor.check()
        try:
            await self._translate_errors(node.ping())
        except NoBroker as error:
            return isinstance(error.__cause__, ResponseError)
        return True

    # --- events ----------------------------------------------------------------------------------

    async def publish(self, draft: Draft) -> Receipt:
        seen = b"seen:" + draft.id.lower().encode()
        keys = self._keys.room(draft.room, b"log", b"meta", b"presence", seen, b"names")
        arguments = [
            *(draft.kind.encode(), draft.json_tail, b"%d" % (SEEN_SECONDS * 1000)),
            *((draft.client or "").encode(), skeleton(draft.name or "").encode()),
        ]
        script = self._scripts.publish
        epoch, offset, created = await self._call(script, draft.room, keys, arguments)
        return Receipt(Cursor(epoch.decode(), int(offset)), draft.id, bool(created))

    async def history(self, room: str, after: Cursor) -> History:
        keys = self._keys.room(room, b"log", b"meta", b"presence")
        arguments = [after.epoch.encode(), b"%d" % after.offset, b"%d" % PAGE_EVENTS]
        script = self._scripts.history
        epoch, top, first, flat, more = await self._call(
            script, room, keys, arguments, history=True
        )
        events = [
            Event.numbered(kind.decode(), Cursor(epoch.decode(), int(offset)), json_tail)
            for offset, kind, json_tail in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        ]
        return History(epoch.decode(), int(top), int(first), events, bool(more))

    async def reset(self, room: str) -> None:
        await self._call_presence(self._scripts.reset, room, [_new_id()])

    # --- members ---------------------------------------------------------------------------------

    async def enter(self, room: str, member: Member, node_id: str, *, stream: bool = False) -> None:
        lease = [member.client.encode(), node_id.encode(), member.json_tail]
        arguments = [*lease, _new_id(), self._lease_ms, b"%d" % stream]
        arguments.append(skeleton(member.name).encode())
        await self._call_presence(self._scripts.enter, room, arguments)

    async def leave(self, room: str, client: str, node_id: str | None, seconds: float) -> None:
        lease = [client.encode(), (node_id or "").encode()]
        await self._call_presence(self._scripts.leave, room, [*lease, b"%d" % (seconds * 1000)])

    async def sweep(self, room: str) -> None:
        while await self._call_presence(self._scripts.sweep, room, [_new_id(), self._lease_ms]):
            pass

    async def _call_presence(self, script: Script, room: str, arguments: list[bytes]) -> Any:
        # On the connection for publishing, so that joins and messages keep their order.
        keys = self._keys.room(room, *_PRESENCE_KEYS)
        return await self._call(script, room, keys, arguments)

    async def members(
        self, room: str, after: str = "", limit: int | None = None
    ) -> Sequence[Member]:
        # A page of an index, not HGETALL: some thousand members would block this process.
        keys = self._keys.room(room, b"people", b"listed")
        start = b"(%b" % after.encode() if after else b"-"
        arguments = [start, b"%d" % (limit or self._limits.list_rows)]
        rows = await self._on_node(
            room, keys, lambda node: node.history_pipeline.call(_MEMBERS, keys, arguments)
        )
        return [_member(json_tail) for json_tail in rows if json_tail]

    async def count_members(self, room: str) -> int:
        (listed,) = keys = self._keys.room(room, b"listed")
        return await self._on_node(
            room, keys, lambda _: self._limited(self._topology.client.zcard(listed))
        )

    async def rooms(self, after: str = "", limit: int | None = None) -> Sequence[RoomSummary]:
        wanted = limit or self._limits.list_rows
        reading = self._breaker.call(lambda: self._read_rooms(after, wanted))
        return await self._translate_errors(reading)

    async def _read_rooms(self, after: str, wanted: int) -> Sequence[RoomSummary]:
        """Read summaries in the order of the names, a few at a time: other tasks run in between."""
        summaries: list[RoomSummary] = []
        names = await self._room_names(after)
        while names and len(summaries) < wanted:
            summaries += await self._limited(self._summaries(names[:SUMMARIES]))
            del names[:SUMMARIES]
        return summaries[:wanted]

    async def _room_names(self, after: str) -> list[str]:
        names = set()
        scan = self._topology.client.scan_iter(match=self._keys.all_meta, count=1000)
        loop = asyncio.get_running_loop()
        # A limit for each command, not for all of them: thousands of rooms take a while.
        async with asyncio.timeout(COMMAND_SECONDS) as limit:
            async for key in scan:
                with suppress(UnicodeDecodeError):  # not ours
                    if (room := self._keys.room_of_meta(key)) > after:
                        names.add(room)
                        if len(names) % SUMMARIES == 0:
                            limit.reschedule(loop.time() + COMMAND_SECONDS)
        return sorted(names)

    async def _summaries(self, rooms: Sequence[str]) -> Sequence[RoomSummary]:
        pipeline = self._topology.client.pipeline(transaction=False)
        for room in rooms:
            meta, people, listed, *streams = self._keys.room(
                room, b"meta", b"people", b"listed", b"log", b"presence"
            )
            pipeline.hmget(meta, "top", "at")
            pipeline.hlen(people)
            pipeline.zcard(listed)
            pipeline.exists(*streams)
        replies = await pipeline.execute(raise_on_error=False)
        rows = zip(rooms, *(replies[column::4] for column in range(4)), strict=True)
        oldest = self._now_ms() - self._limits.history_seconds * 1000
        summaries = []
        for room, *values in rows:
            if await self._is_readable(room, values):
                (top, at), people, listed, stream_count = values
                has_events = stream_count and (at is None or int(at) > oldest)
                if has_events or people:
                    summaries.append(RoomSummary(room, listed, int(top or 0)))
        return summaries

    async def _is_readable(self, room: str, replies: Sequence[Any]) -> bool:
        """Return whether no reply is an error; a key of a wrong type hides only its room."""
        for reply in replies:
            if isinstance(reply, ResponseError):
                keys = self._keys.room(room, b"meta", b"people", b"listed")
                await self._report_refusal(reply, keys, room)
                return False
            if isinstance(reply, Exception):
                raise reply
        return True

    # --- rules -----------------------------------------------------------------------------------

    async def rules(self, room: str) -> Mapping[str, str]:
        flat = await self._call_rules(room, [])
        return {
            field.decode(): value.decode()
            for field, value in zip(flat[::2], flat[1::2], strict=True)
        }

    async def change_rules(self, room: str, changes: Mapping[str, str | None]) -> None:
        flat = [part for change in changes.items() for part in change]
        await self._call_rules(room, [(part or "").encode() for part in flat])

    async def _call_rules(self, room: str, changes: list[bytes]) -> Any:
        # On the connection for history, so that no message waits behind it.
        keys, publish = self._keys.room(room, b"rules"), self._topology.prefix + b"PUBLISH"
        arguments = [self._keys.channel(room), self._meta_ttl_ms, publish, *changes]
        return await self._on_node(
            room, keys, lambda node: node.history_pipeline.call(_RULES, keys, arguments)
        )

    # --- processes -------------------------------------------------------------------------------

    async def report(self, worker: str, text: bytes, seconds: float) -> None:
        await self._call_reports([worker.encode(), text, b"%d" % (seconds * 1000)])

    async def reports(self) -> Mapping[str, bytes]:
        flat = await self._call_reports([])
        return {worker.decode(): text for worker, text in zip(flat[::2], flat[1::2], strict=True)}

    async def _call_reports(self, arguments: list[bytes]) -> Any:
        # On the connection for history, so that no message waits behind it.
        return await self._call_shared(
            _REPORTS,
            [self._keys.workers, self._keys.reports],
            [b"%d" % self._now_ms(), *arguments],
        )

    async def _call_shared(
        self, script: Script, keys: Sequence[bytes], arguments: list[bytes]
    ) -> Any:
        """Call a script on keys that all rooms share: in one slot, as if the prefix were a room."""
        return await self._on_node(
            self._keys.prefix,
            keys,
            lambda node: node.history_pipeline.call(script, keys, arguments),
        )

    # --- the shared clock ------------------------------------------------------------------------

    def _now_ms(self) -> float:
        # Before the first reply: close to the clock that starts by the wall clock of Redis.
        return (self._clock.now() if self._clock_is_shared else time.time()) * 1000

    async def _clock_loop(self) -> None:
        while True:
            await asyncio.sleep(self._clock.tick_seconds)
            with suppress(NoBroker):  # then the clock stops soon, and no lease ends
                await self._sync_clock()

    async def _sync_clock(self) -> None:
        """Agree with the other processes on the time: the latest of all counts."""
        own = b"%d" % (self._now_ms() if self._clock_is_shared else 0)
        shared = await self._call_shared(_CLOCK, [self._keys.clock], [own, self._clock_ttl_ms])
        self._clock.advance_to(int(shared) / 1000)
        self._clock_is_shared = True

    # --- commands --------------------------------------------------------------------------------

    async def _call(
        self,
        script: Script,
        room: str,
        keys: Sequence[bytes],
        arguments: list[bytes],
        *,
        history: bool = False,
    ) -> Any:
        """Call a script of a room: `arguments` follow those that all such scripts have."""
        arguments = [
            self._keys.channel(room),
            *self._bounds,
            b"%d" % self._now_ms(),
            *arguments,
        ]

        def call(node: RedisNode) -> Awaitable[Any]:
            pipeline = node.history_pipeline if history else node.publish_pipeline
            return pipeline.call(script, keys, arguments)

        return await self._on_node(room, keys, call)

    async def _on_node(
        self, room: str, keys: Sequence[bytes], command: Callable[[RedisNode], Awaitable[T]]
    ) -> T:
        """Await a command to the server that stores a room, also while the room moves."""
        moving = self._retry_while_moving(self._keys.channel(room), command)
        return await self._translate_errors(moving, keys, room)

    async def _retry_while_moving(
        self, channel: bytes, command: Callable[[RedisNode], Awaitable[T]]
    ) -> T:
        deadline = _now() + COMMAND_SECONDS
        retries = 0
        while True:
            node = self._node_for(channel)
            try:
                return await node.breaker.call(functools.partial(command, node))
            except _TRANSIENT as error:
                if _now() > deadline:
                    raise
                if isinstance(error, MovedError):
                    await self._apply_redirect(error)
                else:
                    self._refresh_wanted.set()
            await asyncio.sleep(backoff(retries, longest=0.2))
            retries += 1

    def _limited(self, command: Awaitable[T]) -> Awaitable[T]:
        """Limit the time of a rare command, which redis-py would not."""
        return self._supervisor.wait_for(COMMAND_SECONDS, command)

    async def _translate_errors(
        self, command: Awaitable[T], keys: Sequence[bytes] = (), room: str = ""
    ) -> T:
        """Await a command; raise `NoBroker` for every way in which it can fail.

        `keys` are those it uses, and `room` is where they are: an error of Redis names no key.
        """
        try:
            return await command
        except FAILURES as error:
            self._refresh_wanted.set()
            if isinstance(error, ResponseError):
                failure = NoBroker(await self._report_refusal(error, keys, room))
            else:
                self._log_failure(error)
                failure = NoBroker()
            failure.full = isinstance(error, OutOfMemoryError)
            raise failure from error

    def _log_failure(self, error: Exception) -> None:
        # A frozen hub fails every command: one line in the log is enough.
        if _now() - self._logged_at > LOG_INTERVAL_SECONDS:
            self._logged_at = _now()
            log.error("a hub command failed", extra={"error": _describe(error)})

    # --- refused commands ------------------------------------------------------------------------

    async def _report_refusal(self, error: Exception, keys: Sequence[bytes], room: str) -> str:
        """Log once what Redis refuses, and why; return the message for the client."""
        text = str(error)
        if "wrong kind of value" in text and (wrong := await self._find_wrong_key(keys, room)):
            if self._is_new(wrong):
                log.error("a hub command failed", extra={"error": wrong})
            return f"The hub has a wrong key: {wrong}."
        # A full Redis refuses every command: look for the reason once.
        if self._is_new(text) and not await self._find_refusal():
            log.error("a hub command failed", extra={"error": _describe(error)})
        return _REFUSED

    def _is_new(self, text: str) -> bool:
        """Record that `text` occurs now; return whether it did not occur for a while."""
        last = self._refusals.pop(text, -math.inf)
        self._refusals[text] = _now()
        if len(self._refusals) > MAX_REFUSALS:
            del self._refusals[next(iter(self._refusals))]
        return _now() - last > REFUSAL_PAUSE_SECONDS

    async def _find_refusal(self) -> str:
        """Try all commands; log and return the first that Redis refuses, or return an empty string.

        Also without a reply: other code finds out that the server is down.
        """
        publish = self._topology.prefix + b"PUBLISH"
        arguments = [self._keys.check_channel, publish]
        try:
            reply = await self._diagnose(
                self._keys.prefix, _CHECK, [self._keys.check, self._keys.clock], arguments
            )
        except (*FAILURES, NoBroker) as error:
            if not isinstance(error, ResponseError) or isinstance(error, _TRANSIENT):
                return ""
            reply = [(denied_command(str(error)) or "EVALSHA").encode(), str(error).encode()]
        refusal = ""
        if reply:
            command, text = (part.decode(errors="replace") for part in reply)
            refusal = explain(command, text, self._keys.prefix)
        if refusal and refusal != self._refusal:
            log.error("a hub command failed", extra={"error": refusal})
        self._refusal = refusal
        return refusal

    async def _find_wrong_key(self, keys: Sequence[bytes], room: str) -> str | None:
        try:
            return explain_types(keys, await self._diagnose(room, _TYPES, keys, []))
        except (*FAILURES, NoBroker):
            return None

    async def _diagnose(
        self, room: str, script: Script, keys: Sequence[bytes], arguments: list[bytes]
    ) -> Any:
        node = self._node_for(self._keys.channel(room))
        return await node.breaker.call(lambda: node.history_pipeline.call(script, keys, arguments))

    # --- which server stores which room ----------------------------------------------------------

    def _node_for(self, channel: bytes) -> RedisNode:
        return self._node(self._topology.node_name(channel))

    def _node(self, name: str) -> RedisNode:
        if name not in self._nodes:
            self._nodes[name] = RedisNode(
                functools.partial(self._topology.connect, name),
                self._topology.prefix,
                self._keys,
                COMMAND_SECONDS,
                self,
            )
        return self._nodes[name]

    async def _refresh_loop(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_INTERVAL_SECONDS):
                    await self._refresh_wanted.wait()
            self._refresh_wanted.clear()
            refreshing = self._supervisor.wait_for(
                REFRESH_TIMEOUT_SECONDS, self._topology.refresh()
            )
            with suppress(NoBroker):  # the failure itself requests the next refresh
                await self._translate_errors(refreshing)
            self._rebalance()
            await asyncio.sleep(REFRESH_PAUSE_SECONDS)

    async def _apply_redirect(self, error: MovedError) -> None:
        await self._topology.apply_redirect(error)
        self._rebalance()

    def _rebalance(self) -> None:
        """Subscribe to each room at the server that stores it now; close servers without rooms.

        At once: a master that Sentinel replaced may return and acknowledge messages that are lost.
        """
        names = set(self._topology.node_names())
        for name in names:
            self._node(name)
        for channel in self._subscriptions:
            self._assign(channel)
        for name in self._nodes.keys() - names:
            self._supervisor.spawn("close node", self._nodes.pop(name).close)
        for node in self._nodes.values():
            node.pubsub.resubscribe()

    # --- subscriptions ---------------------------------------------------------------------------

    def listen(self, room: str) -> None:
        channel = self._keys.channel(room)
        self._subscriptions[channel] = None
        self._assign(channel)

    def unlisten(self, room: str) -> None:
        channel = self._keys.channel(room)
        if node := self._subscriptions.pop(channel, None):
            node.pubsub.unsubscribe(channel)

    def _assign(self, channel: bytes) -> None:
        """Subscribe to a channel at its server, and only there."""
        try:
            node = self._node_for(channel)
        except RedisClusterException:  # the slot has no server now
            self._refresh_wanted.set()
            return
        old_node, self._subscriptions[channel] = self._subscriptions[channel], node
        if old_node is not node:
            if old_node is not None:
                old_node.pubsub.unsubscribe(channel)
            node.pubsub.subscribe(channel)

    def on_message(self, channel: bytes, payload: bytes) -> None:
        """Deliver a message, see `PubSubListener`."""
        assert self._listener is not None
        if payload == _RULES_CHANGED:
            self._listener.on_rules(self._keys.room_of_channel(channel))
            return
        try:
            event = _parse_message(payload)
        except (ValueError, BadCursor):  # a publisher to the channel can publish anything
            self._log_failure(ValueError(f"a message on {channel!r} is not ours"))
        else:
            self._listener.on_publication(self._keys.room_of_channel(channel), event)

    def on_subscribed(self, channel: bytes) -> None:
        """Report a confirmed subscription."""
        assert self._listener is not None
        self._listener.on_subscribed(self._keys.room_of_channel(channel))

    def on_moved(self, error: MovedError | None) -> None:
        """Find the channels that are not at the expected server."""
        if error is None:
            self._refresh_wanted.set()
        else:
            self._supervisor.spawn("follow redirect", lambda: self._follow_redirect(error))

    async def _follow_redirect(self, error: MovedError) -> None:
        await asyncio.sleep(backoff(0))  # two servers that disagree could redirect us in a loop
        with suppress(NoBroker):
            await self._translate_errors(self._apply_redirect(error))


def _now() -> float:
    return time.monotonic()


def _describe(error: Exception) -> str:
    # The `repr` of an error of redis-py has no text.
    return f"{type(error).__name__}: {error}"


def _new_id() -> bytes:
    return str(uuid.uuid4()).encode()


# --- replies -------------------------------------------------------------------------------------


def _parse_message(payload: bytes) -> Event:
    cursor, kind, json_tail = payload.split(b" ", 2)
    return Event.numbered(kind.decode(), Cursor.parse(cursor.decode()), json_tail)


def _member(json_tail: bytes) -> Member:
    fields = json.loads(b"{%b}" % json_tail)
    return Member(fields["client"], fields["name"], fields["via"])
