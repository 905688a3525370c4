"""A worker process that is kept alive: started, watched, restarted, replaced.

A worker is an ordinary server.  It gets its configuration as JSON on standard input, prints a line
when it listens, responds at ``/readyz`` and ``/healthz``, and handles the usual signals.

    waiting ─▶ starting ─▶ ready ─▶ draining ─▶ ended
       ▲          └──────────┴── died, for a reason ──┐
       └──────────── a pause that grows ──────────────┘
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum

from tornado.httpclient import AsyncHTTPClient

from realtime.server import sockets
from realtime.server.config import ServerConfig
from realtime.tasks import HEALTHY_SECONDS, backoff, cancel_and_wait, die_with_parent

COMMAND = (sys.executable, "-m", "realtime", "worker")

# Importing our modules takes a second on a busy machine; a process that never listens is replaced.
_START_SECONDS = 30.0
# Pause between two probes of a process that listens, until it is ready.
_READY_SECONDS = 0.05
# Pause between two probes of one that is ready, and seconds each probe may take.  A process that
# misses this many in a row hangs: even on a very busy machine a working one responds sooner.
_PROBE_INTERVAL, _PROBE_TIMEOUT, _MAX_MISSED_PROBES = 5.0, 10.0, 3
# Seconds for the end of a process, in addition to the time its readers have.
_STOP_SECONDS = 10.0
# Bytes of one line of its log: a long traceback is one line.
_MAX_LINE_BYTES = 1_048_576
# Characters of its last line that the reason of its death repeats.
_MAX_REASON_LENGTH = 300

log = logging.getLogger(__name__)


class State(StrEnum):
    """Where a worker is in its life cycle."""

    WAITING = "waiting"  # it died, and will be restarted after a pause
    STARTING = "starting"  # it does not listen yet, or cannot reach the hub
    READY = "ready"
    DRAINING = "draining"  # it was asked to stop, and disconnects its readers
    ENDED = "ended"


class WorkerProcess:
    """One server process; `supervise` keeps it alive between `start` and `stop`."""

    def __init__(self, config: ServerConfig, command: Sequence[str] = COMMAND) -> None:
        self.port = config.port
        self.pid: int | None = None
        self.state = State.ENDED
        self.restarts = 0  # after a death, not on request
        self.reason = ""  # why the previous process ended
        self._url = sockets.local_url(config, config.port).rstrip("/")
        self._command = command
        self._stdin = config.to_json().encode()
        self._patience = config.limits.drain_seconds + _STOP_SECONDS
        self._process: asyncio.subprocess.Process | None = None
        self._wanted = asyncio.Event()
        self._ready = asyncio.Event()
        self._exited = asyncio.Event()
        self._exited.set()
        self._failures = 0  # in a row
        self._stop_reason = ""  # why we asked it to end
        self._kill_reason = ""  # why we killed it
        self._last_line = ""
        # A separate client: requests to a worker that hangs must not delay those to others.
        self._client = AsyncHTTPClient(force_instance=True)

    # --- for the master --------------------------------------------------------------------------

    async def ask(self, path: str, *, method: str = "GET", seconds: float = _PROBE_TIMEOUT) -> int:
        """Send a request, and return the status of the response; 0 if there is none."""
        try:
            response = await self._client.fetch(
                self._url + path,
                method=method,
                allow_nonstandard_methods=True,  # a POST without a body
                raise_error=False,
                connect_timeout=seconds,
                request_timeout=seconds,
                validate_cert=False,  # the certificate has the public name, not this address
            )
        except Exception:  # any of Tornado's: there was no response
            return 0
        return response.code

    def start(self) -> None:
        """Let `supervise` start the process."""
        self._wanted.set()

    async def ready(self) -> None:
        """Return when it is ready for requests."""
        await self._ready.wait()

    async def replace(self, why: str) -> None:
        """Stop it as SIGTERM does, and return when its successor is ready."""
        await self._end(signal.SIGTERM, why)
        await self._ready.wait()

    async def stop(self, number: signal.Signals) -> None:
        """Stop it by this signal, and start no other."""
        self._wanted.clear()
        await self._end(number, f"stopped by {number.name}")
        self.state = State.ENDED

    async def supervise(self) -> None:
        """Run the process, and restart it whenever it ends, as long as it is wanted; endless."""
        while True:
            await self._wanted.wait()
            started = asyncio.get_running_loop().time()
            self.reason = await self._run_once()
            if self._stop_reason:
                log.info("a worker has ended", extra={"port": self.port, "reason": self.reason})
                continue
            lifetime = asyncio.get_running_loop().time() - started
            await self._pause(healthy=lifetime >= HEALTHY_SECONDS)

    async def _pause(self, *, healthy: bool) -> None:
        self.state = State.WAITING
        self.restarts += 1
        self._failures = 1 if healthy else self._failures + 1
        pause = backoff(self._failures)
        details = {"port": self.port, "reason": self.reason, "again_in": round(pause, 3)}
        log.error("a worker died", extra=details)
        await asyncio.sleep(pause)

    async def _end(self, number: signal.Signals, why: str) -> None:
        """Ask the process to end, and kill it if it does not."""
        if self._exited.is_set():
            return
        # To a server, a second SIGTERM means: stop draining.  So a process that drains gets none.
        if not (self._stop_reason and number == signal.SIGTERM):
            self._signal(number)
        self._stop_reason, self.state = why, State.DRAINING
        try:
            async with asyncio.timeout(self._patience):
                await self._exited.wait()
        except TimeoutError:
            self._kill(f"it did not end within {self._patience:g} s")
            await self._exited.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):  # it ended at this moment
                self._process.send_signal(number)

    # --- one process -----------------------------------------------------------------------------

    async def _run_once(self) -> str:
        """Start a process, and return the reason when it has ended."""
        self._stop_reason = self._kill_reason = self._last_line = ""
        self._exited.clear()
        self.state = State.STARTING
        try:
            return await self._run_process()
        finally:
            self._process = self.pid = None
            self._ready.clear()
            self._exited.set()

    async def _run_process(self) -> str:
        try:
            self._process = process = await self._spawn()
        except OSError as error:
            return f"it cannot be started: {error}"
        self.pid = process.pid
        if self._stop_reason:  # we were asked to stop it before it had a pid; it has no readers yet
            process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        # Some kilobytes, less than a pipe holds: this never waits for the process to read.
        process.stdin.write(self._stdin)
        process.stdin.close()
        listening = asyncio.Event()
        reading = [
            asyncio.create_task(self._read_stdout(process.stdout, listening)),
            asyncio.create_task(self._relay_stderr(process.stderr)),
        ]
        watching = asyncio.create_task(self._watch(listening))
        try:
            status = await process.wait()
            await asyncio.wait(reading)  # for the last line
        finally:
            if process.returncode is None:  # the supervisor is being cancelled
                process.kill()
                await process.wait()
            await cancel_and_wait([watching, *reading])
        return self._kill_reason or self._stop_reason or _exit_reason(status, self._last_line)

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_MAX_LINE_BYTES,
            start_new_session=True,  # Ctrl-C is for the master, which signals the workers
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )

    async def _read_stdout(self, stdout: asyncio.StreamReader, listening: asyncio.Event) -> None:
        async for _ in stdout:  # a server prints its first line when it listens
            listening.set()

    async def _relay_stderr(self, stderr: asyncio.StreamReader) -> None:
        """Pass its log on to ours, and add which worker wrote it."""
        async for line in stderr:
            self._last_line = line.decode(errors="replace").strip()[-_MAX_REASON_LENGTH:]
            if line.startswith(b"{"):
                line = b'{"worker": %d, ' % self.port + line[1:]
            else:
                line = b"%d: %b" % (self.port, line)
            # A disk that is full must not stop this loop: the worker would wait for a full pipe.
            with suppress(OSError):
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()

    # --- its health ------------------------------------------------------------------------------

    async def _watch(self, listening: asyncio.Event) -> None:
        """Note when it is ready; kill it if it never starts to listen, or hangs later."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                await listening.wait()
        except TimeoutError:
            self._kill(f"it did not listen within {_START_SECONDS:g} s")
            return
        while await self.ask("/readyz") != 200:
            await asyncio.sleep(_READY_SECONDS)
        if self.state is State.STARTING:
            self.state = State.READY
            log.info("a worker is ready", extra={"port": self.port, "pid": self.pid})
        self._ready.set()
        missed = 0
        while missed < _MAX_MISSED_PROBES:
            await asyncio.sleep(_PROBE_INTERVAL)
            status = await self.ask("/healthz", seconds=_PROBE_TIMEOUT)
            missed = 0 if status else missed + 1
        self._kill(f"it did not answer {_MAX_MISSED_PROBES} times in a row")

    def _kill(self, why: str) -> None:
        self._kill_reason = f"killed: {why}"
        self._signal(signal.SIGKILL)


def _exit_reason(status: int, last_line: str) -> str:
    """Describe how a process ended that we did not stop."""
    if status < 0:
        with suppress(ValueError):  # real-time signals have no names
            return f"killed by {signal.Signals(-status).name}"
        return f"killed by signal {-status}"
    if status == 0:
        return "ended by itself, with exit status 0"
    return f"exit status {status}: {last_line or 'no output'}"
