"""One connection that runs scripts in Redis, and sends those that pile up together (pipelining).

A script that finds the connection idle is sent at once.  Scripts that arrive during a round trip
share the next one: one write, one read, one timer, however many they are.

    call ─▶ waiting ─▶ sent, in one write ─▶ Redis runs one after the other ─▶ replies, in order

Each call has its own result: an error reply fails only the call it belongs to, and a caller that
stops waiting does not affect the others.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import NoScriptError, ResponseError

from realtime.tasks import Deadline, Supervisor

# How many times a broken connection is replaced, and its calls without a reply are sent again.
RETRIES = 3


class Script:
    """One atomic step, written in Lua; Redis identifies it by its SHA-1 (EVALSHA)."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.sha = hashlib.sha1(text).hexdigest().encode()


class _Call:
    """A script with its keys and arguments, and a future for the reply."""

    __slots__ = ("_arguments", "_keys", "_script", "reply")

    def __init__(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes]) -> None:
        self._script = script
        self._keys = keys
        self._arguments = arguments
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def encode(self, *, with_text: bool) -> bytes:
        """Encode the command: the script's text or its hash, the keys, a token, the arguments.

        Each attempt gets a new token, and a script that starts an epoch uses the token as its name.
        When the reply was lost and we send the call again, Redis may have restarted from an older
        snapshot: the epoch that the first attempt may have started must not be used twice.
        """
        script = (b"EVAL", self._script.text) if with_text else (b"EVALSHA", self._script.sha)
        token = secrets.token_hex(5).encode()
        return pack(*script, b"%d" % len(self._keys), *self._keys, token, *self._arguments)

    def resolve(self, reply: Any) -> None:
        if self.reply.done():  # the caller stopped waiting
            return
        if isinstance(reply, Exception):
            self.reply.set_exception(reply)
            self.reply.exception()  # or asyncio logs an error that the caller did not await
        else:
            self.reply.set_result(reply)


class _Connection:
    """One connection until it fails; then all its calls fail, and it is never used again.

    A reply that arrives late over a reused connection would resolve the wrong call.
    """

    def __init__(
        self, connection: AbstractConnection, max_batch: int, seconds: float, supervisor: Supervisor
    ) -> None:
        self.failed = False
        self._connection = connection
        self._max_batch = max_batch
        self._seconds = seconds
        self._supervisor = supervisor
        self._retry = Retry(ExponentialBackoff(cap=0.1, base=0.01), RETRIES)
        self._waiting: list[_Call] = []
        self._sent: list[_Call] = []
        self._task: asyncio.Task[None] | None = None

    def enqueue(self, call: _Call) -> None:
        self._waiting.append(call)
        if self._task is None:
            self._task = asyncio.create_task(self._drain())

    async def close(self) -> None:
        self._abort(ConnectionError("closed"))
        await self._connection.disconnect(nowait=True)

    def _abort(self, error: Exception) -> None:
        self._fail(error)
        if self._task is not None:
            self._supervisor.abandon(self._task)

    def _fail(self, error: Exception) -> None:
        self.failed = True
        for call in (*self._sent, *self._waiting):
            call.resolve(error)
        self._waiting.clear()

    async def _drain(self) -> None:
        """Send batches until no call waits, also those that arrive in the meantime."""
        try:
            await self._disconnect_if_closed()
            while self._waiting:
                self._sent = self._waiting[: self._max_batch]
                del self._waiting[: self._max_batch]
                await self._send_batch()
        except Exception as error:
            self._fail(error)
        finally:
            self._task = None
            if self.failed:
                await self._connection.disconnect(nowait=True)

    async def _disconnect_if_closed(self) -> None:
        """Detect that Redis closed the idle connection, before a call loses its reply to it."""
        if self._connection.is_connected and await self._connection.can_read():
            await self._connection.disconnect(nowait=True)

    async def _send_batch(self) -> None:
        with Deadline(self._seconds, lambda: self._abort(TimeoutError())):
            await self._retry.call_with_retry(
                self._exchange, lambda error: self._connection.disconnect(nowait=True)
            )

    async def _exchange(self) -> None:
        if not await self._round_trip(with_text=False):
            # EVAL also stores the script, so this happens once per script.  Only here can a call be
            # overtaken: a later call whose script Redis has runs first.  A caller that awaits each
            # reply before its next call does not notice.
            await self._round_trip(with_text=True)

    async def _round_trip(self, *, with_text: bool) -> bool:
        """Send the calls without a reply, read the replies; return False if a script is unknown."""
        all_known = True
        calls = [call for call in self._sent if not call.reply.done()]
        if calls:
            commands = b"".join([call.encode(with_text=with_text) for call in calls])
            await self._connection.send_packed_command(commands)
        for call in calls:
            try:
                call.resolve(await self._connection.read_response())
            except NoScriptError:
                all_known = False
            except ResponseError as error:
                call.resolve(error)
        return all_known


class ScriptPipeline:
    """Calls scripts, at most `max_batch` per round trip; a round trip takes at most `seconds`."""

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        max_batch: int,
        seconds: float,
        supervisor: Supervisor,
    ) -> None:
        # `connect` returns an object that opens its socket when it has something to send.
        self._new_connection: Callable[[], _Connection] = lambda: _Connection(
            connect(), max_batch, seconds, supervisor
        )
        self._connection = self._new_connection()

    def call(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes]
    ) -> "asyncio.Future[Any]":
        """Send the call now or with the next batch; the future has its reply or its error.

        `ResponseError`: Redis replied with an error.  Any other `RedisError`, or `OSError`: there
        was no reply, and nobody can know whether the script ran.
        """
        if self._connection.failed:
            self._connection = self._new_connection()
        call = _Call(script, keys, arguments)
        self._connection.enqueue(call)
        return call.reply

    async def close(self) -> None:
        """Drop the connection; calls in flight fail."""
        await self._connection.close()


def pack(*arguments: bytes) -> bytes:
    """Encode a command in RESP: the number of arguments, then each one after its length."""
    count = b"*%d\r\n" % len(arguments)
    return count + b"".join([b"$%d\r\n%b\r\n" % (len(one), one) for one in arguments])
