"""One pub/sub connection to one server, with a probe that checks it end to end.

A pub/sub connection can hang silently, so we publish to a probe channel and expect the message
back.  In a Cluster a channel belongs to one server and may move to another: the connection then
receives MOVED or an unexpected `unsubscribe`, and reports it to its listener.
"""

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import MovedError, RedisError, ResponseError

from realtime.brokers.redis.keys import Keys
from realtime.brokers.redis.pipeline import pack
from realtime.brokers.redis.refusal import denied_command, explain
from realtime.errors import NoBroker
from realtime.tasks import Supervisor, backoff, run_until_first_exits

log = logging.getLogger(__name__)

# The pause between two probes, and the longest wait for one to come back.
PROBE_SECONDS = 10.0


class PubSubListener(Protocol):
    """The object that receives what a pub/sub connection reads."""

    def on_message(self, channel: bytes, payload: bytes) -> None:
        """A message arrived; it may arrive twice, out of order, or not at all."""

    def on_subscribed(self, channel: bytes) -> None:
        """A subscription started or restarted: earlier messages may be missed."""

    def on_moved(self, error: MovedError | None) -> None:
        """A channel may be at another server; the error, if any, names the slot and the server."""


class PubSubConnection:
    """Keeps its subscriptions alive, over one connection after the other.

    `publish_probe` publishes to a channel at the same server.  A command that is not sent within
    `seconds` ends the connection.  `prefix` precedes `SUBSCRIBE`: `S` for sharded pub/sub.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        prefix: bytes,
        keys: Keys,
        publish_probe: Callable[[bytes], Awaitable[object]],
        seconds: float,
        supervisor: Supervisor,
    ) -> None:
        self.healthy = False
        self.refusal = ""  # why Redis refuses to subscribe, if it does
        self._connect = connect
        self._prefix = prefix
        self._key_prefix = keys.prefix
        self._publish_probe = publish_probe
        self._seconds = seconds
        self._supervisor = supervisor
        self._wanted: set[bytes] = set()
        self._subscribed: set[bytes] = set()
        self._unsubscribing: set[bytes] = set()  # sent, not confirmed yet
        self._changed = asyncio.Event()
        self._probe_channel = keys.probe_channel + secrets.token_hex(8).encode()
        self._probe_received = asyncio.Event()
        self._dropped = asyncio.Event()

    def subscribe(self, channel: bytes) -> None:
        self._wanted.add(channel)
        self._changed.set()

    def unsubscribe(self, channel: bytes) -> None:
        self._wanted.discard(channel)
        self._changed.set()

    def resubscribe(self) -> None:
        """Try again to subscribe to the channels that were not at this server."""
        self._changed.set()

    def drop(self) -> None:
        """Lose the connection, as a network could do at any time; `run` opens the next one."""
        self.healthy = False
        self._dropped.set()

    async def run(self, listener: PubSubListener) -> None:
        failures = 0
        while True:
            try:
                await self._run_once(listener)
            except (RedisError, OSError, NoBroker) as error:
                self._report(error)
                if self.healthy:
                    failures = 0
                self.healthy = False
                listener.on_moved(None)
            failures += 1
            await asyncio.sleep(backoff(failures, longest=2.0))

    def _report(self, error: Exception) -> None:
        """Log once why there is no subscription."""
        refusal = ""
        if isinstance(error, ResponseError):
            command = denied_command(str(error)) or "SUBSCRIBE"
            refusal = explain(command, str(error), self._key_prefix)
        if self.healthy or refusal not in ("", self.refusal):
            reason = refusal or f"{type(error).__name__}: {error}"
            log.warning("the hub subscription is lost", extra={"error": reason})
        self.refusal = refusal

    async def _run_once(self, listener: PubSubListener) -> None:
        connection = self._connect()
        self._dropped.clear()
        try:
            await self._send(connection, b"SUBSCRIBE", [self._probe_channel])
            await run_until_first_exits(
                self._sync_subscriptions(connection),
                self._read(connection, listener),
                self._probe(),
                self._fail_when_dropped(),
            )
        finally:
            await connection.disconnect(nowait=True)

    async def _fail_when_dropped(self) -> None:
        await self._dropped.wait()
        raise ConnectionResetError("it was dropped on request")

    async def _sync_subscriptions(self, connection: AbstractConnection) -> None:
        """Subscribe to the wanted channels; only this task does, so no two commands cross."""
        self._subscribed.clear()
        self._unsubscribing.clear()
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            new, gone = self._wanted - self._subscribed, self._subscribed - self._wanted
            self._subscribed |= new
            self._subscribed -= gone
            self._unsubscribing |= gone
            await self._send(connection, self._prefix + b"SUBSCRIBE", new)
            await self._send(connection, self._prefix + b"UNSUBSCRIBE", gone)

    async def _send(
        self, connection: AbstractConnection, verb: bytes, channels: Iterable[bytes]
    ) -> None:
        # One command per channel: SSUBSCRIBE refuses channels of two slots in one command.
        if commands := b"".join([pack(verb, channel) for channel in channels]):
            # We wait only until it is sent: the confirmation arrives between the messages.
            sending = connection.send_packed_command(commands, check_health=False)
            await self._supervisor.wait_for(self._seconds, sending)

    async def _read(self, connection: AbstractConnection, listener: PubSubListener) -> None:
        while True:
            try:
                kind, channel, payload = await connection.read_response(
                    timeout=math.inf, push_request=True
                )
            except MovedError as error:
                moved = {one for one in self._subscribed if key_slot(one) == error.slot_id}
                self._subscribed -= moved
                listener.on_moved(error)
                continue
            match kind.removeprefix(self._prefix.lower()):
                case _ if channel == self._probe_channel:
                    self._on_probe()
                case b"message":
                    listener.on_message(channel, payload)
                case b"subscribe":
                    listener.on_subscribed(channel)
                case b"unsubscribe" if channel in self._unsubscribing:
                    self._unsubscribing.discard(channel)
                case b"unsubscribe":  # unrequested: the slot of the channel has moved away
                    self._subscribed.discard(channel)
                    listener.on_moved(None)

    def _on_probe(self) -> None:
        if not self.healthy:
            self.healthy, self.refusal = True, ""
            log.info("the hub subscription is active")
        self._probe_received.set()

    async def _probe(self) -> None:
        """Raise `TimeoutError` if our own message does not come back: the connection hangs."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            self._probe_received.clear()
            await self._publish_probe(self._probe_channel)
            async with asyncio.timeout(PROBE_SECONDS):
                await self._probe_received.wait()
