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
    ReadOnlyError,
    RedisClusterException,
    TryAgainError,
)

from realtime.brokers.redis.node import CircuitBreaker, RedisNode
from realtime.brokers.redis.pipeline import Script
from realtime.brokers.redis.topology import FAILURES, parse_topology
from realtime.core.broker import META_TTL_FACTOR, SEEN_SECONDS, Listener, RoomSummary
from realtime.core.events import Cursor, Draft, Event, Member, Receipt
from realtime.core.room import History
from realtime.errors import NoBroker
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
# While commands fail, we log one line per this time.
LOG_INTERVAL_SECONDS = 10.0
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
        self.publish = _script("log", "publish", head=head)
        self.history = _script("log", "history", head=head)
        self.enter = _script("log", "people", "enter", head=head)
        self.leave = _script("log", "people", "leave", head=head)
        self.sweep = _script("log", "people", "sweep", head=head)
        self.reset = _script("log", "people", "reset", head=head)


# These publish nothing.
_MEMBERS = _script("members")
_REPORTS = _script("reports")


class RedisBroker:
    """The broker at an address that `parse_topology` accepts; raises `ValueError` for others."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._limits = limits
        self._topology = parse_topology(url)
        self._scripts = _Scripts(self._topology.prefix)
        self._nodes: dict[str, RedisNode] = {}
        self._subscriptions: dict[bytes, RedisNode | None] = {}  # channel: where we subscribe to it
        self._breaker = CircuitBreaker()  # for commands that concern no single room
        self._refresh_wanted = asyncio.Event()
        self._supervisor = Supervisor()
        self._listener: Listener | None = None
        self._logged_at = math.inf  # nothing is logged before `start` returns: it raises instead
        self._bounds = [
            b"%d" % limits.history_events,
            b"%d" % (limits.history_seconds * 1000),
            b"%d" % (limits.history_seconds * META_TTL_FACTOR * 1000),
            b"%d" % (EMPTY_ROOM_SECONDS * 1000),
        ]
        self._lease_ms = b"%d" % (limits.lease_seconds * 1000)

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        starting = self._supervisor.wait_for(REFRESH_TIMEOUT_SECONDS, self._topology.start())
        await self._translate_errors(starting)
        self._logged_at = -math.inf
        self._rebalance()
        self._supervisor.supervise("refresh", self._refresh_loop)

    async def close(self) -> None:
        nodes = list(self._nodes.values())
        for breaker in (self._breaker, *(node.breaker for node in nodes)):
            await breaker.close()
        await self._supervisor.close()
        for node in nodes:
            await node.close()
        await self._topology.close()

    async def ping(self) -> None:
        self._supervisor.check()
        nodes = list(self._nodes.values())
        replies = await asyncio.gather(*map(self._is_up, nodes))
        up = [node for node, reply in zip(nodes, replies, strict=True) if reply]
        if not up:  # while some servers of a Cluster are down, the other rooms work
            raise NoBroker
        if not all(node.pubsub.healthy for node in up):
            raise NoBroker("The hub replies, but its pub/sub messages do not arrive; try again.")

    async def _is_up(self, node: RedisNode) -> bool:
        node.supervisor.check()
        try:
            await self._translate_errors(node.ping())
        except NoBroker:
            return False
        return True

    # --- events ----------------------------------------------------------------------------------

    async def publish(self, draft: Draft) -> Receipt:
        keys = _keys(draft.room, b"log", b"meta", b"seen:%b" % draft.id.lower().encode())
        arguments = [draft.kind.encode(), draft.json_tail, b"%d" % (SEEN_SECONDS * 1000)]
        script = self._scripts.publish
        epoch, offset, created = await self._call(script, draft.room, keys, arguments)
        return Receipt(Cursor(epoch.decode(), int(offset)), draft.id, bool(created))

    async def history(self, room: str, after: Cursor) -> History:
        keys = _keys(room, b"log", b"meta")
        arguments = [after.epoch.encode(), b"%d" % after.offset, b"%d" % PAGE_EVENTS]
        script = self._scripts.history
        epoch, top, first, flat = await self._call(script, room, keys, arguments, history=True)
        events = [
            Event.numbered(kind.decode(), Cursor(epoch.decode(), int(offset)), json_tail)
            for offset, kind, json_tail in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        ]
        more = bool(events) and events[-1].cursor.offset < int(top)
        return History(epoch.decode(), int(top), int(first), events, more)

    async def reset(self, room: str) -> None:
        await self._call_presence(self._scripts.reset, room, [_new_id()])

    # --- members ---------------------------------------------------------------------------------

    async def enter(self, room: str, member: Member, node_id: str, *, stream: bool = False) -> None:
        lease = [member.client.encode(), node_id.encode(), member.json_tail]
        arguments = [*lease, _new_id(), self._lease_ms, b"%d" % stream]
        await self._call_presence(self._scripts.enter, room, arguments)

    async def leave(self, room: str, client: str, node_id: str | None, seconds: float) -> None:
        lease = [client.encode(), (node_id or "").encode()]
        await self._call_presence(self._scripts.leave, room, [*lease, b"%d" % (seconds * 1000)])

    async def sweep(self, room: str) -> None:
        while await self._call_presence(self._scripts.sweep, room, [_new_id(), self._lease_ms]):
            pass

    async def _call_presence(self, script: Script, room: str, arguments: list[bytes]) -> Any:
        # On the connection for publishing, so that joins and messages keep their order.
        keys = _keys(room, b"log", b"meta", b"members", b"people", b"listed")
        return await self._call(script, room, keys, arguments)

    async def members(
        self, room: str, after: str = "", limit: int | None = None
    ) -> Sequence[Member]:
        # A page of an index, not HGETALL: some thousand members would block this process.
        keys = _keys(room, b"people", b"listed")
        start = b"(%b" % after.encode() if after else b"-"
        arguments = [start, b"%d" % (limit or self._limits.list_rows)]
        rows = await self._on_node(
            room, lambda node: node.history_pipeline.call(_MEMBERS, keys, arguments)
        )
        return [_member(json_tail) for json_tail in rows if json_tail]

    async def count_members(self, room: str) -> int:
        key = _key(room, b"listed")
        return await self._on_node(room, lambda _: self._limited(self._topology.client.zcard(key)))

    async def rooms(self, after: str = "", limit: int | None = None) -> Sequence[RoomSummary]:
        wanted = limit or self._limits.list_rows
        reading = self._breaker.call(lambda: self._limited(self._read_rooms(after, wanted)))
        return await self._translate_errors(reading)

    async def _read_rooms(self, after: str, wanted: int) -> Sequence[RoomSummary]:
        """Read summaries in the order of the names, a few at a time: other tasks run in between."""
        summaries: list[RoomSummary] = []
        names = await self._room_names(after)
        while names and len(summaries) < wanted:
            summaries += await self._summaries(names[:SUMMARIES])
            del names[:SUMMARIES]
        return summaries[:wanted]

    async def _room_names(self, after: str) -> list[str]:
        names = set()
        pattern = self._topology.client.scan_iter(match="rt:{*}:meta", count=1000)
        async for key in pattern:
            room = key.decode().removeprefix("rt:{").removesuffix("}:meta")
            if room > after:
                names.add(room)
        return sorted(names)

    async def _summaries(self, rooms: Sequence[str]) -> Sequence[RoomSummary]:
        pipeline = self._topology.client.pipeline(transaction=False)
        for room in rooms:
            pipeline.hget(_key(room, b"meta"), "top")
            pipeline.zcard(_key(room, b"listed"))
            pipeline.exists(_key(room, b"log"))
            pipeline.exists(_key(room, b"people"))
        replies = await pipeline.execute()
        rows = zip(rooms, *(replies[column::4] for column in range(4)), strict=True)
        return [
            RoomSummary(room, members, int(top or 0))
            for room, top, members, has_log, has_people in rows
            if has_log or has_people
        ]

    # --- processes -------------------------------------------------------------------------------

    async def report(self, worker: str, text: bytes, seconds: float) -> None:
        await self._call_reports([worker.encode(), text, b"%d" % (seconds * 1000)])

    async def reports(self) -> Mapping[str, bytes]:
        flat = await self._call_reports([])
        return {worker.decode(): text for worker, text in zip(flat[::2], flat[1::2], strict=True)}

    async def _call_reports(self, arguments: list[bytes]) -> Any:
        # On the connection for history, so that no message waits behind it.
        keys = [b"{rt}:workers", b"{rt}:reports"]  # in one slot, as if "rt" were a room
        return await self._on_node(
            "rt", lambda node: node.history_pipeline.call(_REPORTS, keys, arguments)
        )

    # --- commands --------------------------------------------------------------------------------

    async def _call(
        self,
        script: Script,
        room: str,
        keys: list[bytes],
        arguments: list[bytes],
        *,
        history: bool = False,
    ) -> Any:
        """Call a script of a room: `arguments` follow those that all such scripts have."""
        arguments = [_channel(room), *self._bounds, *arguments]

        def call(node: RedisNode) -> Awaitable[Any]:
            pipeline = node.history_pipeline if history else node.publish_pipeline
            return pipeline.call(script, keys, arguments)

        return await self._on_node(room, call)

    async def _on_node(self, room: str, command: Callable[[RedisNode], Awaitable[T]]) -> T:
        """Await a command to the server that stores a room, also while the room moves."""
        return await self._translate_errors(self._retry_while_moving(_channel(room), command))

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

    async def _translate_errors(self, command: Awaitable[T]) -> T:
        """Await a command; raise `NoBroker` for every way in which it can fail."""
        try:
            return await command
        except FAILURES as error:
            self._refresh_wanted.set()
            self._log_failure(error)
            raise NoBroker from error

    def _log_failure(self, error: Exception) -> None:
        # A full or frozen hub fails every command: one line in the log is enough.
        if _now() - self._logged_at > LOG_INTERVAL_SECONDS:
            self._logged_at = _now()
            log.error("a hub command failed", extra={"error": repr(error)})

    # --- which server stores which room ----------------------------------------------------------

    def _node_for(self, channel: bytes) -> RedisNode:
        return self._node(self._topology.node_name(channel))

    def _node(self, name: str) -> RedisNode:
        if name not in self._nodes:
            connect = functools.partial(self._topology.connect, name)
            self._nodes[name] = RedisNode(connect, self._topology.prefix, COMMAND_SECONDS, self)
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
        self._subscriptions[_channel(room)] = None
        self._assign(_channel(room))

    def unlisten(self, room: str) -> None:
        if node := self._subscriptions.pop(_channel(room), None):
            node.pubsub.unsubscribe(_channel(room))

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
        self._listener.on_publication(_room(channel), _parse_message(payload))

    def on_subscribed(self, channel: bytes) -> None:
        """Report a confirmed subscription."""
        assert self._listener is not None
        self._listener.on_subscribed(_room(channel))

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


# --- keys ----------------------------------------------------------------------------------------


def _channel(room: str) -> bytes:
    # The braces are a hash tag: all keys of a room are on one node of a Cluster.
    return b"rt:{%b}" % room.encode()


def _key(room: str, what: bytes) -> bytes:
    return b"%b:%b" % (_channel(room), what)


def _keys(room: str, *what: bytes) -> list[bytes]:
    return [_key(room, one) for one in what]


def _room(channel: bytes) -> str:
    return channel[len(b"rt:{") : -len(b"}")].decode()


def _new_id() -> bytes:
    return str(uuid.uuid4()).encode()


# --- replies -------------------------------------------------------------------------------------


def _parse_message(payload: bytes) -> Event:
    cursor, kind, json_tail = payload.split(b" ", 2)
    return Event.numbered(kind.decode(), Cursor.parse(cursor.decode()), json_tail)


def _member(json_tail: bytes) -> Member:
    fields = json.loads(b"{%b}" % json_tail)
    return Member(fields["client"], fields["name"], fields["via"])
