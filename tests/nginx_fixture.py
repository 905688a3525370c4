"""For tests: a real nginx with the configuration that we print, and workers behind it."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from realtime.cluster.nginx_config import configuration
from tests.conftest import SECONDS, missing
from tests.ports import free_port
from tests.server_process import Server


def program() -> str:
    # Debian installs it in /usr/sbin, which is in the PATH of root only.
    return shutil.which("nginx") or shutil.which("/usr/sbin/nginx") or missing("nginx")


class Nginx:
    """An nginx in front of `workers`, each ``host:port``; a context manager.

    The other arguments are those of `configuration`.
    """

    def __init__(self, workers: list[str], **options: Any) -> None:
        self._workers = workers
        self._options = options
        self._program = program()

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="nginx-")))
        self.port = free_port()  # nginx cannot choose one itself
        scheme = "https" if self._options.get("tls") else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        file = self._folder / "nginx.conf"
        listen = f"127.0.0.1:{self.port}"
        file.write_text(configuration(workers=self._workers, listen=listen, **self._options))
        command = [self._program, "-e", str(self._folder / "start.log"), "-p", str(self._folder)]
        command += ["-c", str(file), "-g", self._extra()]
        self.process = subprocess.Popen(command)
        self._await_port()
        return self

    def _extra(self) -> str:
        """Stay in the foreground, and as the user who owns the folder, even if that is root."""
        return "daemon off;" + (" user root;" if os.geteuid() == 0 else "")

    def _await_port(self) -> None:
        """Return when it accepts connections."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        self.process.kill()
        raise AssertionError(f"nginx does not start: {self._log()}")

    def _log(self) -> str:
        return "".join(path.read_text() for path in sorted(self._folder.glob("*.log")))

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(SECONDS)
            log = self._log()
        finally:
            self.process.kill()
            self._stack.close()
        assert "[emerg]" not in log, log
        assert self._options.get("open_files") or "[crit]" not in log, log
        self.log = log


class Fleet:
    """Workers on one Redis with nginx in front; tests use it where they would use one `Server`."""

    def __init__(self, redis: str, *options: str, count: int = 2, **nginx: Any) -> None:
        program()  # skips the test before any worker starts
        self._options = ("--hub", redis, "--trust-proxy", "127.0.0.1", *options)
        self._count = count
        self._nginx = nginx
        self.routing = nginx.get("routing", "any")

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            workers = (self._worker(free_port()) for _ in range(self._count))
            self.workers = [stack.enter_context(worker) for worker in workers]
            addresses = [f"127.0.0.1:{worker.port}" for worker in self.workers]
            nginx = stack.enter_context(Nginx(addresses, **self._nginx))
            self.nginx, self.url, self.port = nginx, nginx.url, nginx.port
            self._stack = stack.pop_all()
        return self

    def restart(self, worker: Server) -> Server:
        """Start a worker at the port of one that was killed, as a master does."""
        return self._stack.enter_context(self._worker(worker.port))

    def _worker(self, port: int) -> Server:
        return Server(*self._options, "--port", str(port))

    def __exit__(self, *error: object) -> None:
        self._stack.close()
