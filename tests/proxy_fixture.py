"""For tests: a real proxy as a process in front of workers: nginx, haproxy or Caddy."""

import shutil
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Self

from tests.conftest import SECONDS, missing
from tests.ports import free_port

Edit = Callable[[str], str]


class ReverseProxy(ABC):
    """A proxy in front of `workers`, each ``host:port``; a context manager.

    `edit` changes the text of its configuration; the other options are those of `configuration`.
    """

    name: ClassVar[str]
    # The file that holds its configuration.
    file: ClassVar[str]

    def __init__(self, workers: list[str], *, edit: Edit = str, **options: Any) -> None:
        self._workers = workers
        self._edit = edit
        self._options = options
        self._program = self.program()

    @classmethod
    def program(cls) -> str:
        """Return the path of the program; without it, the test is skipped."""
        # Debian installs some of them in /usr/sbin, which is in the PATH of root only.
        return shutil.which(cls.name) or shutil.which(f"/usr/sbin/{cls.name}") or missing(cls.name)

    @abstractmethod
    def configuration(self, listen: str) -> str:
        """Return the text of its configuration, for this ``address:port``."""

    @abstractmethod
    def command(self, file: Path) -> list[str]:
        """Return the arguments that start it in the foreground."""

    def environment(self, folder: Path) -> dict[str, str] | None:
        """Return its environment, if it is not ours."""
        return None

    @abstractmethod
    def check_log(self, log: str) -> None:
        """Fail if the log has an error that no test expects."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        prefix = f"{self.name}-"
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
        self.port = free_port()  # none of them can choose one itself
        scheme = "https" if self._options.get("tls") else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        file = self._folder / self.file
        file.write_text(self._edit(self.configuration(f"127.0.0.1:{self.port}")))
        errors = self._stack.enter_context((self._folder / "stderr.log").open("w"))
        self.process = subprocess.Popen(
            [self._program, *self.command(file)],
            stderr=errors,
            env=self.environment(self._folder),
        )
        self._await_port()
        return self

    def _await_port(self) -> None:
        """Return when it accepts connections."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        self.process.kill()
        self.process.wait()
        log = self.read_log()
        self._stack.close()
        raise AssertionError(f"{self.name} does not start: {log}")

    def read_log(self) -> str:
        return "".join(path.read_text() for path in sorted(self._folder.glob("*.log")))

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(SECONDS)
            self.log = self.read_log()
        finally:
            self.process.kill()
            self._stack.close()
        self.check_log(self.log)
