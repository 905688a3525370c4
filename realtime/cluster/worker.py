"""A server process that is kept alive: begun, watched, begun again, replaced.

Nothing is shared with it but a command line, an environment and its signals: it is an ordinary
`realtime`, and what it says on its first line and at ``/readyz`` is what anybody may know.

    waiting ─▶ starting ─▶ ready ─▶ draining ─▶ ended
       ▲          └──────────┴── died, and why ──┐
       └──────────── a pause that grows ─────────┘
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum

from tornado.httpclient import AsyncHTTPClient

from realtime.tasks import HEALTHY_SECONDS, backoff, cancel_and_wait, die_with_parent

# Python and its modules take a second of a busy machine; a process that never listens is replaced.
_START_SECONDS = 30.0
# How soon one that listens is found to be ready.
_READY_SECONDS = 0.05
# One that is ready is asked this often whether it lives.  It is hung when it has not answered so
# many times in a row, each within so long: a machine that is busy beyond measure answers sooner.
_ASK_SECONDS, _ASK_TIMEOUT, _ASK_TIMES = 5.0, 10.0, 3
# Beyond the time that its readers have, for what a process does when it ends.
_END_SECONDS = 10.0
# Bytes of one line of its log: a long traceback is one.
_LINE_BYTES = 1_048_576
# Characters of its last words.
_LAST_WORDS = 300

log = logging.getLogger(__name__)


class State(StrEnum):
    """Where a worker is in its life."""

    WAITING = "waiting"  # it died a moment ago, and will be begun again
    STARTING = "starting"  # it does not listen yet, or cannot reach the hub
    READY = "ready"
    DRAINING = "draining"  # it was told to end, and sends its readers elsewhere
    ENDED = "ended"


class WorkerProcess:
    """One process at one port; `url` is where to ask it, `drain_seconds` what its readers have."""

    def __init__(
        self,
        url: str,
        port: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        drain_seconds: float,
    ) -> None:
        self.port = port
        self.pid: int | None = None
        self.state = State.ENDED
        self.restarts = 0  # that nobody asked for
        self.reason = ""  # why the one before ended
        self._url = url
        self._command = command
        self._environment = environment
        self._patience = drain_seconds + _END_SECONDS
        self._process: asyncio.subprocess.Process | None = None
        self._wanted = asyncio.Event()
        self._ready = asyncio.Event()
        self._gone = asyncio.Event()
        self._gone.set()
        self._failures = 0  # in a row
        self._told = ""  # why it was asked to end
        self._verdict = ""  # why it was killed by us
        self._last_words = ""
        self._client = AsyncHTTPClient(force_instance=True)  # none waits for the hung ones' answers

    # --- what a master asks ----------------------------------------------------------------------

    def start(self) -> None:
        """Let `keep` begin it."""
        self._wanted.set()

    async def ready(self) -> None:
        """Return when it is ready to be asked."""
        await self._ready.wait()

    async def replace(self, why: str) -> None:
        """End it as SIGTERM does, and return when another is ready in its place."""
        await self._end(signal.SIGTERM, why)
        await self._ready.wait()

    async def stop(self, number: signal.Signals) -> None:
        """End it by this signal, and begin no other."""
        self._wanted.clear()
        await self._end(number, f"told to end by {number.name}")
        self.state = State.ENDED

    async def keep(self) -> None:
        """Keep it alive, while it is wanted, for ever."""
        while True:
            await self._wanted.wait()
            began = asyncio.get_running_loop().time()
            self.reason = await self._live()
            if self._told:
                log.info("a worker has ended", extra={"port": self.port, "reason": self.reason})
                continue
            lived = asyncio.get_running_loop().time() - began
            await self._pause(well=lived >= HEALTHY_SECONDS)

    async def _pause(self, *, well: bool) -> None:
        self.state = State.WAITING
        self.restarts += 1
        self._failures = 1 if well else self._failures + 1
        pause = backoff(self._failures)
        said = {"port": self.port, "reason": self.reason, "again_in": round(pause, 3)}
        log.error("a worker died", extra=said)
        await asyncio.sleep(pause)

    async def _end(self, number: signal.Signals, why: str) -> None:
        """Let the process end, and see to it that it does."""
        if self._gone.is_set():
            return
        if not (self._told and number == signal.SIGTERM):  # said twice, it does not wait any more
            self._signal(number)
        self._told, self.state = why, State.DRAINING
        try:
            async with asyncio.timeout(self._patience):
                await self._gone.wait()
        except TimeoutError:
            self._kill(f"it did not end within {self._patience:g} s")
            await self._gone.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):  # it has ended in this very moment
                self._process.send_signal(number)

    # --- a life ----------------------------------------------------------------------------------

    async def _live(self) -> str:
        """Begin a process and return when it has ended, saying why."""
        self._told = self._verdict = self._last_words = ""
        self._gone.clear()
        self.state = State.STARTING
        try:
            return await self._run()
        finally:
            self._process = self.pid = None
            self._ready.clear()
            self._gone.set()

    async def _run(self) -> str:
        try:
            self._process = process = await self._begin()
        except OSError as error:
            return f"it cannot be started: {error}"
        self.pid = process.pid
        if self._told:  # while it was begun, when nobody could be told: it has no readers yet
            process.kill()
        assert process.stdout is not None
        assert process.stderr is not None
        listening = asyncio.Event()
        hearing = [
            asyncio.create_task(self._hear(process.stdout, listening)),
            asyncio.create_task(self._relay(process.stderr)),
        ]
        watching = asyncio.create_task(self._watch(listening))
        try:
            status = await process.wait()
            await asyncio.wait(hearing)  # its last words
        finally:
            if process.returncode is None:  # it is we who end
                process.kill()
                await process.wait()
            await cancel_and_wait([watching, *hearing])
        return self._verdict or self._told or _why(status, self._last_words)

    async def _begin(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
            start_new_session=True,  # Ctrl-C is for us, and we tell them
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )

    async def _hear(self, stdout: asyncio.StreamReader, listening: asyncio.Event) -> None:
        async for _ in stdout:  # its first line is printed when it listens
            listening.set()

    async def _relay(self, stderr: asyncio.StreamReader) -> None:
        """Pass on what it logs, and who it was."""
        async for line in stderr:
            self._last_words = line.decode(errors="replace").strip()[-_LAST_WORDS:]
            if line.startswith(b"{"):
                line = b'{"worker": %d, ' % self.port + line[1:]
            else:
                line = b"%d: %b" % (self.port, line)
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()

    # --- is it well? -----------------------------------------------------------------------------

    async def _watch(self, listening: asyncio.Event) -> None:
        """Say when it is ready, and kill it when it will never be, or is hung."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                await listening.wait()
        except TimeoutError:
            self._kill(f"it did not listen within {_START_SECONDS:g} s")
            return
        while await self._ask("/readyz") != 200:
            await asyncio.sleep(_READY_SECONDS)
        if self.state is State.STARTING:
            self.state = State.READY
            log.info("a worker is ready", extra={"port": self.port, "pid": self.pid})
        self._ready.set()
        silences = 0
        while silences < _ASK_TIMES:
            await asyncio.sleep(_ASK_SECONDS)
            silences = 0 if await self._ask("/healthz") else silences + 1
        self._kill(f"it did not answer {_ASK_TIMES} times in a row")

    def _kill(self, why: str) -> None:
        self._verdict = f"killed, since {why}"
        self._signal(signal.SIGKILL)

    async def _ask(self, path: str) -> int:
        """Ask, and give the status of its answer: 0 if there was none."""
        try:
            answer = await self._client.fetch(
                self._url + path,
                raise_error=False,
                connect_timeout=_ASK_TIMEOUT,
                request_timeout=_ASK_TIMEOUT,
                validate_cert=False,  # of the name by which others ask it
            )
        except Exception:  # whichever of Tornado's it is: that was no answer
            return 0
        return answer.code


def _why(status: int, last_words: str) -> str:
    """How a process ended by itself, for people."""
    if status < 0:
        with suppress(ValueError):  # those of real time have no names
            return f"killed by {signal.Signals(-status).name}"
        return f"killed by signal {-status}"
    if status == 0:
        return "ended by itself, with exit status 0"
    return f"exit status {status}: {last_words or 'it said nothing'}"
