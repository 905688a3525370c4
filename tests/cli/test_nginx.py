"""`realtime nginx` prints a configuration; a mistake is one line."""

import re

import pytest

from realtime.cluster.nginx_config import configuration
from tests.cli.command_line import run
from tests.server_process import ROOT

DEPLOY = (ROOT / "docs" / "deploy.md").read_text("utf-8")


def test_it_prints_the_configuration_of_all_workers() -> None:
    result = run("nginx", "--workers", "2", "--base-port", "7001", "--worker", "10.0.0.2:7001")
    assert (result.returncode, result.stderr) == (0, "")
    workers = ["127.0.0.1:7001", "127.0.0.1:7002", "10.0.0.2:7001"]
    assert result.stdout == configuration(workers=workers)


def test_with_a_certificate_it_listens_for_https() -> None:
    files = ("cert.pem", "key.pem")
    result = run("nginx", "--worker", "10.0.0.2:7001", "--tls", *files, "--name", "a.example.org")
    assert result.stdout == configuration(
        workers=["10.0.0.2:7001"], listen=443, tls=files, name="a.example.org"
    )


def test_below_a_path_it_names_the_option_of_the_workers() -> None:
    result = run("nginx", "--workers", "1", "--root-path", "/chat/")
    assert result.stdout == configuration(workers=["127.0.0.1:6001"], root_path="/chat")
    assert "--trust-proxy 127.0.0.1 --root-path /chat --hub" in result.stdout


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--workers", "0"], 2, "must be a whole number above 0"),
        (["--worker", "somewhere"], 2, "somewhere is not the address of a worker"),
        (["--routing", "luck"], 2, "invalid choice: 'luck'"),
        (["--workers", "2", "--base-port", "65535"], 1, "127.0.0.1:65536 is not the address"),
        (["--listen", "here"], 1, "nginx cannot listen on here"),
        (["--tls", "cert.pem"], 2, "expected 2 arguments"),
        (["--root-path", "chat"], 2, "chat is no path below which a server can be"),
        (["--root-path", "/a b"], 2, "/a b is no path below which a server can be"),
    ],
)
def test_a_mistake_is_one_line(options: list[str], status: int, message: str) -> None:
    result = run("nginx", *options)
    assert (result.returncode, result.stdout) == (status, "")
    assert message in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", re.findall(r"^    realtime (nginx [^>\n]+)", DEPLOY, re.M))
def test_the_commands_in_the_docs_work(command: str) -> None:
    result = run(*command.split())
    assert (result.returncode, result.stderr) == (0, "")
