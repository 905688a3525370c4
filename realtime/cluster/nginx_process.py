"""A real nginx in front of the workers of a cluster, begun and ended with it.

What it is told is what ``realtime nginx`` prints; it keeps its files in a folder that goes with it.
"""

import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tornado.netutil import bind_sockets

from realtime.cluster.nginx_config import configuration
from realtime.tasks import Supervisor, die_with_parent

# Debian leaves it out of the PATH of everybody but root.
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
# What is being answered may be answered to its end; streams do not end by themselves.
_END_SECONDS = 2.0

log = logging.getLogger(__name__)


class NginxProcess:
    """nginx at `host` and `port` (0: a free one), before `workers`, which are ``host:port``.

    Raises OSError if there is no nginx, or the port cannot be had.
    """

    def __init__(self, host: str, port: int, workers: Sequence[str], routing: str) -> None:
        program = shutil.which("nginx", path=_PATH)
        if program is None:
            raise OSError("--nginx: none is installed; on Debian: apt-get install nginx-light")
        self.port = _free_port(host, port)
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{self.port}/"
        text = configuration(workers=workers, listen=f"{name}:{self.port}", routing=routing)
        self._folder = Path(tempfile.mkdtemp(prefix="realtime-"))
        # Begun by root, its processes become somebody else, who has to find his way to his files.
        self._folder.chmod(0o711)
        self._file = self._folder / "nginx.conf"
        self._file.write_text(text)
        self._command = [program, "-e", "stderr", "-p", str(self._folder), "-c", str(self._file)]
        self._command += ["-g", "daemon off;"]
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor = Supervisor()

    def start(self) -> None:
        """Begin it, and begin it again when it has died."""
        self._supervisor.supervise("nginx", self._run)

    async def close(self) -> None:
        """End it, and remove what it left."""
        await self._supervisor.close()
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGQUIT)
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await self._process.wait()
        self._kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _run(self) -> None:
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us, and we end it when we are done
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
        status = await process.wait()
        self._kill()  # its workers, which would keep the port
        log.error("nginx has died", extra={"status": status})

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _free_port(host: str, port: int) -> int:
    """The port, if it can be had: nginx says less clearly why it cannot."""
    try:
        sockets = bind_sockets(port, host)
    except OSError as error:
        raise OSError(f"--nginx {port}: {error}") from error
    found: int = sockets[0].getsockname()[1]
    for one in sockets:
        one.close()
    return found
