"""`realtime worker` takes its whole configuration from standard input."""

import io
import sys

import pytest

from realtime.cli.main import parse
from realtime.server.config import ServerConfig
from tests.cli.command_line import run


def test_it_gets_the_configuration_that_its_master_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ServerConfig(port=6002, hub="redis://:secret@127.0.0.1", network_count=1)
    monkeypatch.setattr(sys, "stdin", io.StringIO(config.to_json()))
    command = parse(["worker"])
    assert (command.config, command.loop) == (config, "asyncio")


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"limits": {}, "colour": "red"}'])
def test_any_other_input_is_one_line_and_exit_1(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    result = run("worker")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "`realtime cluster` starts workers" in result.stderr


def test_no_help_and_no_error_names_a_command_that_only_a_master_uses() -> None:
    for arguments in (["--help"], ["nonsense"]):
        result = run(*arguments)
        assert "talk" in result.stdout + result.stderr
        assert "worker\n" not in result.stdout + result.stderr
        assert "'worker'" not in result.stderr
        assert ", worker" not in result.stderr
