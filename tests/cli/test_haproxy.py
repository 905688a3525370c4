"""`realtime haproxy` prints a configuration; a mistake is one line."""

import re

import pytest

from realtime.cluster.haproxy_config import configuration
from tests.cli.command_line import run
from tests.server_process import ROOT

DEPLOY = (ROOT / "docs" / "deploy.md").read_text("utf-8")


def test_it_prints_the_configuration_of_all_workers() -> None:
    result = run("haproxy", "--workers", "2", "--base-port", "7001", "--worker", "10.0.0.2:7001")
    assert (result.returncode, result.stderr) == (0, "")
    workers = ["127.0.0.1:7001", "127.0.0.1:7002", "10.0.0.2:7001"]
    assert result.stdout == configuration(workers=workers)


def test_with_a_certificate_it_listens_for_https() -> None:
    options = ("--worker", "10.0.0.2:7001", "--tls", "site.pem", "--name", "a.example.org")
    assert run("haproxy", *options).stdout == configuration(
        workers=["10.0.0.2:7001"], listen=443, tls="site.pem", name="a.example.org"
    )


def test_below_a_path_it_names_the_option_of_the_workers() -> None:
    result = run("haproxy", "--workers", "1", "--root-path", "/chat/", "--routing", "session")
    assert result.stdout == configuration(
        workers=["127.0.0.1:6001"], root_path="/chat", routing="session"
    )
    assert "--trust-proxy 127.0.0.1 --root-path /chat --hub" in result.stdout


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--worker", "somewhere"], 2, "somewhere is not the address of a worker"),
        (["--routing", "luck"], 2, "invalid choice: 'luck'"),
        (["--listen", "here"], 1, "haproxy cannot listen on here"),
        (["--tls", "a$b"], 1, "has a character with a meaning of its own to haproxy"),
    ],
)
def test_a_mistake_is_one_line(options: list[str], status: int, message: str) -> None:
    result = run("haproxy", *options)
    assert (result.returncode, result.stdout) == (status, "")
    assert message in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", re.findall(r"^    realtime (haproxy [^>\n]+)", DEPLOY, re.M))
def test_the_commands_in_the_docs_work(command: str) -> None:
    result = run(*command.split())
    assert (result.returncode, result.stderr) == (0, "")
