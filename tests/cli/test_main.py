"""The command `realtime`: which command runs, on which event loop, with which exit status."""

import re
import subprocess
import sys

import pytest

from realtime.cli import serve
from realtime.cli.config import CommandError
from realtime.cli.main import parse
from realtime.server.config import ServerConfig
from tests.cli.command_line import run
from tests.server_process import ROOT


@pytest.mark.parametrize(
    ("arguments", "loop"),
    [
        ([], "auto"),
        (["--loop", "asyncio"], "asyncio"),
        (["--networks", "1"], "asyncio"),
        (["proxy"], "asyncio"),
        (["talk"], "auto"),
        (["cluster"], "auto"),
    ],
)
def test_network_proxies_run_on_asyncio_and_the_rest_on_uvloop(
    arguments: list[str], loop: str
) -> None:
    assert parse(arguments).loop == loop


def test_it_imports_only_what_every_server_needs() -> None:
    """The client of Redis is slow to import, and PyJWT is optional."""
    optional = {"redis", "valkey", "jwt", "cryptography"}
    code = f"import sys, realtime.cli.main; print(*{optional} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_the_help_lists_the_commands_and_not_the_internal_one() -> None:
    shown = run("--help").stdout
    commands = ["talk", "proxy", "nginx", "haproxy", "ticket", "capture", "cluster"]
    assert re.findall(r"^    (\w+)  ", shown, re.MULTILINE) == commands


@pytest.mark.parametrize(
    ("error", "status", "printed"),
    [
        (None, 0, ""),
        (KeyboardInterrupt(), 0, ""),
        (CommandError("no such room"), 1, "realtime: no such room\n"),
        (OSError("no such port"), 1, "realtime: no such port\n"),
    ],
)
def test_the_end_of_a_command_becomes_an_exit_status(
    error: BaseException | None, status: int, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end(config: ServerConfig) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(serve, "run", end)
    result = run()
    assert (result.returncode, result.stdout, result.stderr) == (status, "", printed)


def test_the_module_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "realtime", "--port", "0", "--hub", "http://127.0.0.1/"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=ROOT)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith("realtime: --hub must be ")
