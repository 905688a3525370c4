"""The broker for many processes: Redis or Valkey numbers, remembers and announces.

Each step that must not be torn apart is one Lua script.  Pub/sub is only the fast path: it loses
messages by design, so the hub checks every number it hears and reads what is missing.  Whatever the
number of clients, a process has one connection that listens, one that carries what is said, one for
pages of history, and a few for rare questions.
"""

import asyncio
import json
import logging
import math
import secrets
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import RedisError, ResponseError

from realtime.brokers import META_LIVES, SEEN_SECONDS, Listener, RoomSummary
from realtime.brokers.carrier import Carrier, Script
from realtime.errors import NoBroker
from realtime.events import Cursor, Draft, Event, Member, Receipt
from realtime.limits import Limits
from realtime.room import History
from realtime.tasks import Supervisor, backoff, run_together

log = logging.getLogger(__name__)

T = TypeVar("T")

# A client waits for its answer: within a second it is told 503 rather than left hanging.
COMMAND_SECONDS = 0.8
# The epoch of a room where nothing was said outlives its last reading by so long.
EMPTY_SECONDS = 120
# Silence proves nothing on a pub/sub connection, so we talk to ourselves over it.
PROBE_SECONDS = 10.0
# Events in one page of history: some 100 KB, a millisecond of the server's only thread.
PAGE_EVENTS = 300
# Scripts in one round trip: some ten milliseconds of the server's only thread, and a megabyte or
# two of words or of pages.
WORDS_TOGETHER, PAGES_TOGETHER = 512, 16
# Rare questions under way at once; more wait for a connection, and do not open one each.
COMMAND_CONNECTIONS = 16
# While commands fail, it is logged so often.
COMPLAIN_SECONDS = 10.0


def _script(*names: str) -> Script:
    folder = files("realtime.brokers")
    return Script(b"\n".join((folder / f"{name}.lua").read_bytes() for name in names))


_PUBLISH = _script("log", "publish")
_HISTORY = _script("log", "history")
_ENTER = _script("log", "people", "enter")
_LEAVE = _script("log", "people", "leave")
_SWEEP = _script("log", "people", "sweep")
_RESET = _script("log", "people", "reset")
_REPORTS = _script("reports")


class RedisBroker:
    """The broker behind a ``redis://``, ``rediss://`` or ``unix://`` address."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._limits = limits
        self._redis = Redis.from_pool(_pool(url, Retry(ExponentialBackoff(cap=0.1, base=0.01), 3)))
        # One that never retries by itself: a subscription renewed behind our back is a hole, and a
        # script that is sent again gets another token.  RESP2, since redis-py spells out every
        # announcement that comes by RESP3 for its own log.
        pool = _pool(url, Retry(NoBackoff(), 0), protocol=2)
        self._connect: Callable[[], AbstractConnection] = pool.make_connection
        self._supervisor = Supervisor()
        self._listener: Listener | None = None
        self._rooms: set[str] = set()
        self._rooms_changed = asyncio.Event()
        self._probe_channel = b"rt:probe:%b" % secrets.token_hex(8).encode()
        self._probe_heard = asyncio.Event()
        self._hearing = False
        self._running = 0  # commands under way
        self._failing = False  # the last one was not answered
        self._closed = False
        self._complained = math.inf  # until it has begun, whoever begins it is told, and tells
        self._words = self._carrier(WORDS_TOGETHER)
        self._pages = self._carrier(PAGES_TOGETHER)
        self._bounds = [
            b"%d" % limits.history_events,
            b"%d" % (limits.history_seconds * 1000),
            b"%d" % (limits.history_seconds * META_LIVES * 1000),
            b"%d" % (EMPTY_SECONDS * 1000),
        ]
        self._lease_ms = b"%d" % (limits.lease_seconds * 1000)

    def _carrier(self, batch: int) -> Carrier:
        return Carrier(self._connect, batch, COMMAND_SECONDS, self._supervisor)

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        await self._ask(self._redis.ping)
        self._complained = -math.inf
        self._supervisor.keep("listen", self._listen_for_ever)

    async def close(self) -> None:
        self._closed = True
        while self._running:  # no longer than a command may take
            await asyncio.sleep(0.01)
        await self._words.close()
        await self._pages.close()
        await self._supervisor.close()
        await self._redis.aclose()

    async def ping(self) -> None:
        self._supervisor.check()
        await self._ask(self._redis.ping)
        if not self._hearing:
            raise NoBroker("The hub answers, but its announcements are not heard; try again.")

    # --- words -----------------------------------------------------------------------------------

    async def publish(self, draft: Draft) -> Receipt:
        keys = _keys(draft.room, b"log", b"meta", b"seen:%b" % draft.id.lower().encode())
        arguments = [draft.kind.encode(), draft.rest, b"%d" % (SEEN_SECONDS * 1000)]
        epoch, number, fresh = await self._run(self._words, _PUBLISH, draft.room, keys, arguments)
        return Receipt(Cursor(epoch.decode(), int(number)), draft.id, bool(fresh))

    async def history(self, room: str, after: Cursor) -> History:
        keys = _keys(room, b"log", b"meta")
        arguments = [after.epoch.encode(), b"%d" % after.number, b"%d" % PAGE_EVENTS]
        epoch, top, first, flat = await self._run(self._pages, _HISTORY, room, keys, arguments)
        events = [
            Event.numbered(kind.decode(), Cursor(epoch.decode(), int(number)), rest)
            for number, kind, rest in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        ]
        more = bool(events) and events[-1].cursor.number < int(top)
        return History(epoch.decode(), int(top), int(first), events, more)

    async def reset(self, room: str) -> None:
        await self._run_about_people(_RESET, room, [_new_id()])

    # --- people ----------------------------------------------------------------------------------

    async def enter(self, room: str, member: Member, holder: str) -> None:
        who = [member.client.encode(), holder.encode(), member.rest]
        await self._run_about_people(_ENTER, room, [*who, _new_id(), self._lease_ms])

    async def leave(self, room: str, client: str, holder: str | None, seconds: float) -> None:
        who = [client.encode(), (holder or "").encode()]
        await self._run_about_people(_LEAVE, room, [*who, b"%d" % (seconds * 1000)])

    async def sweep(self, room: str) -> None:
        while await self._run_about_people(_SWEEP, room, [_new_id(), self._lease_ms]):
            pass

    async def _run_about_people(self, script: Script, room: str, arguments: list[bytes]) -> Any:
        # By the way of the words, and in one order with them.
        keys = _keys(room, b"log", b"meta", b"members", b"people")
        return await self._run(self._words, script, room, keys, arguments)

    async def members(self, room: str) -> Sequence[Member]:
        return _members(await self._ask(lambda: self._redis.hgetall(_key(room, b"people"))))

    async def rooms(self) -> Sequence[RoomSummary]:
        return await self._ask(self._rooms_kept)

    async def _rooms_kept(self) -> Sequence[RoomSummary]:
        names = [
            key.decode().removeprefix("rt:{").removesuffix("}:meta")
            async for key in self._redis.scan_iter(match="rt:{*}:meta", count=1000)
        ]
        pipeline = self._redis.pipeline(transaction=False)
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
        keys = [b"{rt}:workers", b"{rt}:reports"]
        return await self._try(lambda: self._pages.run(_REPORTS, keys, arguments))

    # --- asking ----------------------------------------------------------------------------------

    async def _run(
        self, carrier: Carrier, script: Script, room: str, keys: list[bytes], own: list[bytes]
    ) -> Any:
        """Run a script with the arguments that all have, and those of its own after them."""
        arguments = [_channel(room), *self._bounds, *own]
        return await self._try(lambda: carrier.run(script, keys, arguments))

    async def _ask(self, command: Callable[[], Awaitable[T]]) -> T:
        """Await the answer to a rare question."""
        return await self._try(lambda: self._supervisor.within(COMMAND_SECONDS, command()))

    async def _try(self, command: Callable[[], Awaitable[T]]) -> T:
        """Await a command that is bounded in time; each way that it can fail becomes `NoBroker`.

        While the last one failed they are tried one at a time, and whoever comes meanwhile is told
        at once: a thousand who wait for the same timeout help nobody.
        """
        if self._closed or (self._failing and self._running):
            raise NoBroker
        self._running += 1
        try:
            answer = await command()
        except (RedisError, OSError) as error:
            # One that is refused (READONLY, OOM, NOPERM) was answered: the next may be right.
            self._failing = not isinstance(error, ResponseError)
            self._complain(error)
            raise NoBroker from error
        finally:
            self._running -= 1
        self._failing = False
        return answer

    def _complain(self, error: Exception) -> None:
        # A full or a frozen hub fails every command: one line tells it as well as a thousand.
        now = asyncio.get_running_loop().time()
        if now - self._complained > COMPLAIN_SECONDS:
            self._complained = now
            log.error("the hub fails", extra={"error": repr(error)})

    # --- listening -------------------------------------------------------------------------------

    def listen(self, room: str) -> None:
        self._rooms.add(room)
        self._rooms_changed.set()

    def unlisten(self, room: str) -> None:
        self._rooms.discard(room)
        self._rooms_changed.set()

    async def _listen_for_ever(self) -> None:
        failures = 0
        while True:
            try:
                await self._listen_on_one_connection()
            except (RedisError, OSError, TimeoutError, NoBroker) as error:
                if self._hearing:
                    failures = 0
                    log.warning("the hub is no longer heard", extra={"error": repr(error)})
                self._hearing = False
            failures += 1
            await asyncio.sleep(backoff(failures, longest=2.0))

    async def _listen_on_one_connection(self) -> None:
        connection = self._connect()
        try:
            await self._say(connection, b"SUBSCRIBE", self._probe_channel)
            await run_together(
                self._own_the_channels(connection), self._read(connection), self._probe()
            )
        finally:
            await connection.disconnect(nowait=True)

    async def _own_the_channels(self, connection: AbstractConnection) -> None:
        """Subscribe to what is wanted; nobody else does, so no two commands cross."""
        subscribed: set[str] = set()
        self._rooms_changed.set()
        while True:
            await self._rooms_changed.wait()
            self._rooms_changed.clear()
            wanted = set(self._rooms)
            if new := wanted - subscribed:
                await self._say(connection, b"SUBSCRIBE", *map(_channel, new))
            if gone := subscribed - wanted:
                await self._say(connection, b"UNSUBSCRIBE", *map(_channel, gone))
            subscribed = wanted

    async def _say(self, connection: AbstractConnection, *words: bytes) -> None:
        # Nothing is awaited but that it is sent: the answer comes among all else that is heard.
        saying = connection.send_command(*words, check_health=False)
        await self._supervisor.within(COMMAND_SECONDS, saying)

    async def _read(self, connection: AbstractConnection) -> None:
        assert self._listener is not None
        while True:
            kind, channel, payload = await connection.read_response(
                timeout=math.inf, push_request=True
            )
            if kind == b"message" and channel != self._probe_channel:
                self._listener.announced(_room(channel), _announced(payload))
            elif channel == self._probe_channel:
                self._heard()
            elif kind == b"subscribe":
                self._listener.confirmed(_room(channel))

    def _heard(self) -> None:
        if not self._hearing:
            self._hearing = True
            log.info("the hub is heard")
        self._probe_heard.set()

    async def _probe(self) -> None:
        """Fail if our own voice is not heard: a connection can be open and deaf."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            self._probe_heard.clear()
            await self._ask(lambda: self._redis.publish(self._probe_channel, ""))
            async with asyncio.timeout(PROBE_SECONDS):
                await self._probe_heard.wait()


def _pool(url: str, retry: Retry, **options: Any) -> BlockingConnectionPool:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=COMMAND_CONNECTIONS,
        timeout=COMMAND_SECONDS,
        socket_connect_timeout=COMMAND_SECONDS,
        socket_timeout=None,  # we bound each command, and not each of its reads and writes
        retry=retry,
        **options,
    )
    try:
        pool.connection_class(**pool.connection_kwargs)
    except TypeError as error:  # or it would be found out when somebody says the first word
        raise ValueError("an option of the address is not known") from error
    return pool


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
