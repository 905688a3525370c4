"""For tests: a real nginx with the configuration that we print, and workers behind it."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from realtime.cluster.nginx_config import configuration
from tests.ports import free_port
from tests.proxy_fixture import ReverseProxy
from tests.server_process import Server


class Nginx(ReverseProxy):
    """An nginx; its options are those of `nginx_config.configuration`."""

    name = "nginx"
    file = "nginx.conf"

    def configuration(self, listen: str) -> str:
        return configuration(workers=self._workers, listen=listen, **self._options)

    def command(self, file: Path) -> list[str]:
        return ["-e", "stderr", "-p", str(file.parent), "-c", str(file), "-g", self._extra()]

    def _extra(self) -> str:
        """Stay in the foreground, and as the user who owns the folder, even if that is root."""
        return "daemon off;" + (" user root;" if os.geteuid() == 0 else "")

    def check_log(self, log: str) -> None:
        assert "[emerg]" not in log, log
        assert self._options.get("open_files") or "[crit]" not in log, log


class Fleet:
    """Workers on one Redis with a proxy in front; tests use it in place of one `Server`."""

    def __init__(
        self,
        redis: str,
        *options: str,
        count: int = 2,
        kind: type[ReverseProxy] = Nginx,
        **proxy: Any,
    ) -> None:
        kind.program()  # skips the test before any worker starts
        self._options = ("--hub", redis, "--trust-proxy", "127.0.0.1", *options)
        self._count = count
        self._kind = kind
        self._proxy = proxy
        self.routing = proxy.get("routing", "any")

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            workers = (self._worker(free_port()) for _ in range(self._count))
            self.workers = [stack.enter_context(worker) for worker in workers]
            addresses = [f"127.0.0.1:{worker.port}" for worker in self.workers]
            self.proxy = stack.enter_context(self._kind(addresses, **self._proxy))
            self.url, self.port = self.proxy.url, self.proxy.port
            self._stack = stack.pop_all()
        return self

    def restart(self, worker: Server) -> Server:
        """Start a worker at the port of one that was killed, as a master does."""
        return self._stack.enter_context(self._worker(worker.port))

    def _worker(self, port: int) -> Server:
        return Server(*self._options, "--port", str(port))

    def __exit__(self, *error: object) -> None:
        self._stack.close()
