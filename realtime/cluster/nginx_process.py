"""A real nginx in front of the workers of a cluster, started and stopped with it.

Its configuration is the one that ``realtime nginx`` prints; its files are in a temporary folder.
"""

import asyncio
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from realtime.cluster.nginx_config import configuration
from realtime.protocol.addresses import url_host
from realtime.server.sockets import close_listeners, max_open_files, open_port, port_of
from realtime.tasks import Supervisor, die_with_parent

# Debian installs it in /usr/sbin, which is in the PATH of root only.
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
# Seconds for responses that are being sent; streams do not end by themselves.
_STOP_SECONDS = 2.0

log = logging.getLogger(__name__)


class NginxProcess:
    """nginx at `host` and `port` (0: a free one), in front of `workers`, each ``host:port``.

    Raises OSError if nginx is not installed or the port is taken, and ValueError if nginx cannot be
    configured for these workers.  `relays` has the address to connect to instead of a worker's own,
    by the latter.
    """

    def __init__(
        self,
        host: str,
        port: int,
        workers: Sequence[str],
        routing: str,
        root_path: str = "",
        relays: Mapping[str, str] | None = None,
    ) -> None:
        program = shutil.which("nginx", path=_PATH)
        if program is None:
            raise OSError("--nginx: nginx is not installed; on Debian: apt-get install nginx-light")
        self.port = _free_port(host, port)
        address = f"{url_host(host)}:{self.port}"
        self.url = f"http://{address}{root_path}/"
        text = configuration(
            workers=workers,
            listen=address,
            routing=routing,
            open_files=max_open_files(),
            root_path=root_path,
        )
        for worker, relay in (relays or {}).items():
            text = re.sub(rf"server {re.escape(worker)}(?=[ ;])", f"server {relay}", text)
        self._folder = Path(tempfile.mkdtemp(prefix="realtime-"))
        # If root starts nginx, its workers run as another user, who must reach these files.
        self._folder.chmod(0o711)
        self._file = self._folder / "nginx.conf"
        self._file.write_text(text)
        self._command = [program, "-e", "stderr", "-p", str(self._folder), "-c", str(self._file)]
        self._command += ["-g", "daemon off;"]
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor = Supervisor()

    def start(self) -> None:
        """Start nginx, and restart it if it dies."""
        self._supervisor.supervise("nginx", self._run)

    async def close(self) -> None:
        """Stop nginx, and remove its files."""
        await self._supervisor.close()
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGQUIT)
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._process.wait()
        self._kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _run(self) -> None:
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the master, which stops nginx last
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
        status = await process.wait()
        self._kill()  # its workers, which would keep the port open
        log.error("nginx died", extra={"status": status})

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _free_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0; our error is clearer than that of nginx."""
    sockets = open_port(port, host, "--nginx")
    free = port_of(sockets)
    close_listeners([sockets])
    return free
