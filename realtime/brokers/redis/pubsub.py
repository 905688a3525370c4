"""One connection that listens at one server: to channels, and to ourselves.

Silence proves nothing on a pub/sub connection, which may be open and deaf, so we talk to ourselves
over it.  In a Cluster a channel is at one server, and may move to another: then the ear is told,
and tells its owner.
"""

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import MovedError, RedisError

from realtime.brokers.redis.pipeline import pack
from realtime.errors import NoBroker
from realtime.tasks import Supervisor, backoff, run_until_first_exits

log = logging.getLogger(__name__)

# How long it may be silent before we talk to ourselves.
PROBE_SECONDS = 10.0


class Owner(Protocol):
    """Who is told what an ear hears."""

    def heard(self, channel: bytes, payload: bytes) -> None:
        """Something was announced; it may come twice, out of turn, or not at all."""

    def on_subscribed(self, channel: bytes) -> None:
        """Listening to a channel begins, or began anew: what came before may have been missed."""

    def astray(self, error: MovedError | None) -> None:
        """What should be here may be elsewhere; the error, if there is one, says what and where."""


class Ear:
    """Listens for ever, over one connection after the other.

    `speak` publishes to a channel, at the server where we listen; each command is sent within
    `seconds`, or the connection is given up.  `prefix` goes before `SUBSCRIBE`.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        prefix: bytes,
        speak: Callable[[bytes], Awaitable[object]],
        seconds: float,
        supervisor: Supervisor,
    ) -> None:
        self.hearing = False
        self._connect = connect
        self._prefix = prefix
        self._speak = speak
        self._seconds = seconds
        self._supervisor = supervisor
        self._wanted: set[bytes] = set()
        self._subscribed: set[bytes] = set()
        self._leaving: set[bytes] = set()  # asked for, and not answered yet
        self._changed = asyncio.Event()
        self._probe_channel = b"rt:probe:%b" % secrets.token_hex(8).encode()
        self._probe_heard = asyncio.Event()

    def listen(self, channel: bytes) -> None:
        self._wanted.add(channel)
        self._changed.set()

    def unlisten(self, channel: bytes) -> None:
        self._wanted.discard(channel)
        self._changed.set()

    def listen_again(self) -> None:
        """Try anew to listen to channels that were not here."""
        self._changed.set()

    async def run(self, owner: Owner) -> None:
        failures = 0
        while True:
            try:
                await self._listen_on_one_connection(owner)
            except (RedisError, OSError, NoBroker) as error:
                if self.hearing:
                    failures = 0
                    log.warning("the hub is no longer heard", extra={"error": repr(error)})
                self.hearing = False
                owner.astray(None)
            failures += 1
            await asyncio.sleep(backoff(failures, longest=2.0))

    async def _listen_on_one_connection(self, owner: Owner) -> None:
        connection = self._connect()
        try:
            await self._say(connection, b"SUBSCRIBE", [self._probe_channel])
            await run_until_first_exits(
                self._own_the_channels(connection), self._read(connection, owner), self._probe()
            )
        finally:
            await connection.disconnect(nowait=True)

    async def _own_the_channels(self, connection: AbstractConnection) -> None:
        """Subscribe to what is wanted; nobody else does, so no two commands cross."""
        self._subscribed.clear()
        self._leaving.clear()
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            new, gone = self._wanted - self._subscribed, self._subscribed - self._wanted
            self._subscribed |= new
            self._subscribed -= gone
            self._leaving |= gone
            await self._say(connection, self._prefix + b"SUBSCRIBE", new)
            await self._say(connection, self._prefix + b"UNSUBSCRIBE", gone)

    async def _say(
        self, connection: AbstractConnection, verb: bytes, channels: Iterable[bytes]
    ) -> None:
        # One command for each: those of two slots may not be in one.
        if commands := b"".join([pack(verb, channel) for channel in channels]):
            # Nothing is awaited but that it is sent: the answer comes among all that is heard.
            saying = connection.send_packed_command(commands, check_health=False)
            await self._supervisor.wait_for(self._seconds, saying)

    async def _read(self, connection: AbstractConnection, owner: Owner) -> None:
        while True:
            try:
                kind, channel, payload = await connection.read_response(
                    timeout=math.inf, push_request=True
                )
            except MovedError as error:
                strays = {one for one in self._subscribed if key_slot(one) == error.slot_id}
                self._subscribed -= strays
                owner.astray(error)
                continue
            match kind.removeprefix(self._prefix.lower()):
                case _ if channel == self._probe_channel:
                    self._hear_ourselves()
                case b"message":
                    owner.heard(channel, payload)
                case b"subscribe":
                    owner.on_subscribed(channel)
                case b"unsubscribe" if channel in self._leaving:
                    self._leaving.discard(channel)
                case b"unsubscribe":
                    self._subscribed.discard(channel)
                    owner.astray(None)

    def _hear_ourselves(self) -> None:
        if not self.hearing:
            self.hearing = True
            log.info("the hub is heard")
        self._probe_heard.set()

    async def _probe(self) -> None:
        """Fail if our own voice is not heard: a connection can be open and deaf."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            self._probe_heard.clear()
            await self._speak(self._probe_channel)
            async with asyncio.timeout(PROBE_SECONDS):
                await self._probe_heard.wait()
