"""One connection that carries scripts to Redis: those that pile up meanwhile go together.

A script that finds the connection idle is sent at once.  Those that come while a round trip is
under way share the next: one write, one read, one timer, however many they are.

    run ─▶ waiting ─▶ sent, in one write ─▶ Redis: one after the other ─▶ answers, in the same order

Each is answered for itself: what Redis refuses to one is not its neighbours' concern, and whoever
stops waiting for an answer harms nobody else's.
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

# A connection that broke is replaced, and what was not answered sent again, so many times.
RETRIES = 3


class Script:
    """One step that must not be torn apart, in Lua; Redis knows it by its hash."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.sha = hashlib.sha1(text).hexdigest().encode()


class _Call:
    """A script with its keys and arguments, and the answer to come."""

    __slots__ = ("_arguments", "_keys", "_script", "answer")

    def __init__(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes]) -> None:
        self._script = script
        self._keys = keys
        self._arguments = arguments
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def packed(self, whole: bool) -> bytes:
        """The command: the script's text or only its hash, the keys, a token, the arguments.

        Each sending has a token of its own, and a script that begins an epoch names it so.  One
        that is sent again, since its answer was lost, may find a server that came back with an
        older memory: the name that it may have given before must not be given again.
        """
        script = (b"EVAL", self._script.text) if whole else (b"EVALSHA", self._script.sha)
        token = secrets.token_hex(5).encode()
        return pack(*script, b"%d" % len(self._keys), *self._keys, token, *self._arguments)

    def settle(self, answer: Any) -> None:
        if self.answer.done():  # whoever asked waits no more
            return
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
            self.answer.exception()  # or asyncio would log one that nobody came back for
        else:
            self.answer.set_result(answer)


class _Line:
    """One connection, until it fails: then all that it carries is told so, and it is left alone.

    What came late over it could be taken for the answer to a later question.
    """

    def __init__(
        self, connection: AbstractConnection, batch: int, seconds: float, supervisor: Supervisor
    ) -> None:
        self.failed = False
        self._connection = connection
        self._batch = batch
        self._seconds = seconds
        self._supervisor = supervisor
        self._retry = Retry(ExponentialBackoff(cap=0.1, base=0.01), RETRIES)
        self._waiting: list[_Call] = []
        self._sent: list[_Call] = []
        self._task: asyncio.Task[None] | None = None

    def carry(self, call: _Call) -> None:
        self._waiting.append(call)
        if self._task is None:
            self._task = asyncio.create_task(self._carry_all())

    async def close(self) -> None:
        self._give_up(ConnectionError("closed"))
        await self._connection.disconnect(nowait=True)

    def _give_up(self, error: Exception) -> None:
        self._refuse(error)
        if self._task is not None:
            self._supervisor.abandon(self._task)

    def _refuse(self, error: Exception) -> None:
        self.failed = True
        for call in (*self._sent, *self._waiting):
            call.settle(error)
        self._waiting.clear()

    async def _carry_all(self) -> None:
        """Carry what waits, and what comes meanwhile."""
        try:
            await self._drop_if_ended()
            while self._waiting:
                self._sent = self._waiting[: self._batch]
                del self._waiting[: self._batch]
                await self._carry_sent()
        except Exception as error:
            self._refuse(error)
        finally:
            self._task = None
            if self.failed:
                await self._connection.disconnect(nowait=True)

    async def _drop_if_ended(self) -> None:
        """Notice that the other side hung up while nobody spoke, before anybody pays for it."""
        if self._connection.is_connected and await self._connection.can_read():
            await self._connection.disconnect(nowait=True)

    async def _carry_sent(self) -> None:
        with Deadline(self._seconds, lambda: self._give_up(TimeoutError())):
            await self._retry.call_with_retry(
                self._exchange, lambda error: self._connection.disconnect(nowait=True)
            )

    async def _exchange(self) -> None:
        if not await self._round_trip(whole=False):
            # The text brings its hash with it, so nobody is refused twice.  Only here can one be
            # overtaken, by a later one whose script was known; whoever awaits each answer is not.
            await self._round_trip(whole=True)

    async def _round_trip(self, whole: bool) -> bool:
        """Send what is not answered yet, and take the answers; say whether each was one."""
        all_known = True
        calls = [call for call in self._sent if not call.answer.done()]
        if calls:
            command = b"".join([call.packed(whole) for call in calls])
            await self._connection.send_packed_command(command)
        for call in calls:
            try:
                call.settle(await self._connection.read_response())
            except NoScriptError:
                all_known = False
            except ResponseError as error:
                call.settle(error)
        return all_known


class Carrier:
    """Runs scripts, at most `batch` in a round trip, which takes at most `seconds`."""

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        batch: int,
        seconds: float,
        supervisor: Supervisor,
    ) -> None:
        # `connect` makes an object, which opens its socket when there is something to send.
        self._new_line: Callable[[], _Line] = lambda: _Line(connect(), batch, seconds, supervisor)
        self._line = self._new_line()

    def run(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes]
    ) -> "asyncio.Future[Any]":
        """Send it now or with the next; the result is its answer, or why there is none.

        `ResponseError` says that Redis refused it.  Any other `RedisError`, or `OSError`, that
        there was no answer: then nobody knows whether the script ran.
        """
        if self._line.failed:
            self._line = self._new_line()
        call = _Call(script, keys, arguments)
        self._line.carry(call)
        return call.answer

    async def close(self) -> None:
        """Drop the connection; what is under way is given up."""
        await self._line.close()


def pack(*words: bytes) -> bytes:
    """A command as Redis reads it: the number of words, and each word after its length (RESP)."""
    count = b"*%d\r\n" % len(words)
    return count + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
