"""The broker for many processes: Redis or Valkey numbers, remembers and announces.

Each step that must not be torn apart is one Lua script.  Pub/sub is only the fast path: it loses
messages by design, so the hub checks every number it hears and reads what is missing.  One
connection per process listens, whatever the number of clients, and a few more carry commands.
"""

import asyncio
import json
import logging
import math
import secrets
import uuid
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError, ResponseError

from realtime.brokers import META_LIVES, SEEN_SECONDS, Listener, RoomSummary
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
# Commands under way at once; more wait for a connection, and do not open one each.
COMMAND_CONNECTIONS = 16
# While commands fail, it is logged so often.
COMPLAIN_SECONDS = 10.0


class RedisBroker:
    """The broker behind a ``redis://``, ``rediss://`` or ``unix://`` address."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._limits = limits
        self._redis = _client(url, Retry(ExponentialBackoff(cap=0.1, base=0.01), 3))
        # This one never retries by itself: a subscription renewed behind our back is a hole.
        self._voice = _client(url, Retry(NoBackoff(), 0))
        self._supervisor = Supervisor()
        self._listener: Listener | None = None
        self._rooms: set[str] = set()
        self._rooms_changed = asyncio.Event()
        self._probe_channel = f"rt:probe:{secrets.token_hex(8)}"
        self._probe_heard = asyncio.Event()
        self._hearing = False
        self._running = 0  # commands under way
        self._failing = False  # the last one was not answered
        self._closed = False
        self._complained = math.inf  # until it has begun, whoever begins it is told, and tells
        self._publish = self._script("log", "publish")
        self._history = self._script("log", "history")
        self._enter = self._script("log", "people", "enter")
        self._leave = self._script("log", "people", "leave")
        self._sweep = self._script("log", "people", "sweep")

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        await self._ask(self._redis.ping)
        self._complained = -math.inf
        self._supervisor.keep("listen", self._listen_for_ever)

    async def close(self) -> None:
        self._closed = True
        while self._running:  # no longer than a command may take
            await asyncio.sleep(0.01)
        await self._supervisor.close()
        await self._redis.aclose()
        await self._voice.aclose()

    async def ping(self) -> None:
        self._supervisor.check()
        await self._ask(self._redis.ping)
        if not self._hearing:
            raise NoBroker("The hub answers, but its announcements are not heard; try again.")

    # --- words -----------------------------------------------------------------------------------

    async def publish(self, draft: Draft) -> Receipt:
        keys = [
            *self._keys(draft.room, "log", "meta"),
            self._key(draft.room, f"seen:{draft.id.lower()}"),
        ]
        arguments = [draft.kind, draft.rest, SEEN_SECONDS * 1000]
        epoch, number, fresh = await self._run(self._publish, draft.room, keys, arguments)
        return Receipt(Cursor(epoch.decode(), int(number)), draft.id, bool(fresh))

    async def history(self, room: str, after: Cursor) -> History:
        keys = self._keys(room, "log", "meta")
        arguments = [after.epoch, after.number, PAGE_EVENTS]
        epoch, top, first, flat = await self._run(self._history, room, keys, arguments)
        events = [
            Event.numbered(kind.decode(), Cursor(epoch.decode(), int(number)), rest)
            for number, kind, rest in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        ]
        more = bool(events) and events[-1].cursor.number < int(top)
        return History(epoch.decode(), int(top), int(first), events, more)

    # --- people ----------------------------------------------------------------------------------

    async def enter(self, room: str, member: Member, holder: str) -> None:
        lease_ms = int(self._limits.lease_seconds * 1000)
        arguments = [member.client, holder, member.rest, str(uuid.uuid4()), lease_ms]
        await self._run(self._enter, room, self._people_keys(room), arguments)

    async def leave(self, room: str, client: str, holder: str | None, seconds: float) -> None:
        arguments = [client, holder or "", int(seconds * 1000)]
        await self._run(self._leave, room, self._people_keys(room), arguments)

    async def sweep(self, room: str) -> None:
        lease_ms = int(self._limits.lease_seconds * 1000)
        while await self._run(
            self._sweep, room, self._people_keys(room), [str(uuid.uuid4()), lease_ms]
        ):
            pass

    async def members(self, room: str) -> Sequence[Member]:
        return _members(await self._ask(lambda: self._redis.hgetall(self._key(room, "people"))))

    async def rooms(self) -> Sequence[RoomSummary]:
        return await self._ask(self._rooms_kept)

    async def _rooms_kept(self) -> Sequence[RoomSummary]:
        names = [
            key.decode().removeprefix("rt:{").removesuffix("}:meta")
            async for key in self._redis.scan_iter(match="rt:{*}:meta", count=1000)
        ]
        pipeline = self._redis.pipeline(transaction=False)
        for room in names:
            pipeline.hget(self._key(room, "meta"), "top")
            pipeline.hgetall(self._key(room, "people"))
            pipeline.exists(self._key(room, "log"))
        answers = await pipeline.execute()
        rows = zip(names, answers[::3], answers[1::3], answers[2::3], strict=True)
        return [
            RoomSummary(room, len(_members(people)), int(top or 0))
            for room, top, people, kept in rows
            if kept or people
        ]

    # --- keys and scripts ------------------------------------------------------------------------

    def _key(self, room: str, what: str) -> str:
        # The braces are a hash tag: all keys of a room live on one node of a Cluster.
        return f"rt:{{{room}}}:{what}"

    def _keys(self, room: str, *what: str) -> list[str]:
        return [self._key(room, one) for one in what]

    def _people_keys(self, room: str) -> list[str]:
        return self._keys(room, "log", "meta", "members", "people")

    def _script(self, *names: str) -> AsyncScript:
        folder = files("realtime.brokers")
        parts = [(folder / f"{name}.lua").read_text(encoding="utf-8") for name in names]
        return self._redis.register_script("\n".join(parts))

    async def _run(
        self, script: AsyncScript, room: str, keys: list[str], arguments: list[Any]
    ) -> Any:
        limits = self._limits
        always: list[Any] = [
            _channel(room),
            secrets.token_hex(5),  # the epoch, if the script has to begin one
            limits.history_events,
            int(limits.history_seconds * 1000),
            int(limits.history_seconds * META_LIVES * 1000),
            EMPTY_SECONDS * 1000,
        ]
        return await self._ask(lambda: script(keys=keys, args=always + arguments))

    async def _ask(self, command: Callable[[], Awaitable[T]]) -> T:
        """Await a command, bounded in time, and turn every way it can fail into `NoBroker`.

        While the last one failed they are tried one at a time, and whoever comes meanwhile is told
        at once: a thousand who wait for the same timeout help nobody.
        """
        if self._closed or (self._failing and self._running):
            raise NoBroker
        self._running += 1
        try:
            answer = await self._supervisor.within(COMMAND_SECONDS, command())
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
        pubsub = self._voice.pubsub()
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                await pubsub.subscribe(self._probe_channel)
            await run_together(self._own_the_channels(pubsub), self._read(pubsub), self._probe())
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped

    async def _own_the_channels(self, pubsub: PubSub) -> None:
        """Subscribe to what is wanted; nobody else does, so no two commands cross."""
        subscribed: set[str] = set()
        self._rooms_changed.set()
        while True:
            await self._rooms_changed.wait()
            self._rooms_changed.clear()
            wanted = set(self._rooms)
            if new := wanted - subscribed:
                await pubsub.subscribe(*map(_channel, new))
            if gone := subscribed - wanted:
                await pubsub.unsubscribe(*map(_channel, gone))
            subscribed = wanted

    async def _read(self, pubsub: PubSub) -> None:
        assert self._listener is not None
        while True:
            message = await pubsub.get_message(timeout=None)
            if message is None:
                continue
            channel, kind = message["channel"].decode(), message["type"]
            if channel == self._probe_channel:
                if not self._hearing:
                    self._hearing = True
                    log.info("the hub is heard")
                self._probe_heard.set()
            elif kind == "subscribe":
                self._listener.confirmed(_room(channel))
            elif kind == "message":
                self._listener.announced(_room(channel), _announced(message["data"]))

    async def _probe(self) -> None:
        """Fail if our own voice is not heard: a connection can be open and deaf."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            self._probe_heard.clear()
            await self._ask(lambda: self._redis.publish(self._probe_channel, ""))
            async with asyncio.timeout(PROBE_SECONDS):
                await self._probe_heard.wait()


def _client(url: str, retry: Retry) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=COMMAND_CONNECTIONS,
        timeout=COMMAND_SECONDS,
        socket_connect_timeout=COMMAND_SECONDS,
        socket_timeout=COMMAND_SECONDS,
        retry=retry,
    )
    try:
        pool.connection_class(**pool.connection_kwargs)
    except TypeError as error:  # or it would be found out when somebody says the first word
        raise ValueError("an option of the address is not known") from error
    return Redis.from_pool(pool)


def _channel(room: str) -> str:
    return f"rt:{{{room}}}"


def _room(channel: str) -> str:
    return channel.removeprefix("rt:{").removesuffix("}")


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
