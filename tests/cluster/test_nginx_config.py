"""The configuration of nginx: what is written, what cannot be, and that nginx takes it."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.clients import request
from realtime.cluster.nginx_config import ROUTINGS, configuration
from realtime.transports.affinity import worker_label
from tests.cli.test_serve import run
from tests.conftest import Servers
from tests.nginx_fixture import program
from tests.server_process import ROOT

WORKERS = ["127.0.0.1:6001", "10.0.0.2:6001", "[fd00::2]:6001"]


def taken(text: str, folder: Path) -> str:
    """What nginx says of it, which is nothing but that it is well."""
    (folder / "nginx.conf").write_text(text)
    command = [program(), "-e", "stderr", "-t", "-p", str(folder), "-c", "nginx.conf"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert result.returncode == 0, result.stderr
    return result.stderr


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize(
    ("listen", "name"),
    [(8080, "_"), ("127.0.0.1:8080", "chat.example.org"), ("[::1]:8080", "*.example.org")],
)
def test_nginx_takes_it(tmp_path: Path, routing: str, listen: str | int, name: str) -> None:
    text = configuration(workers=WORKERS, listen=listen, routing=routing, name=name)
    said = taken(text, tmp_path)
    assert "[warn]" not in said


@pytest.mark.parametrize("listen", [443, 8443])
def test_nginx_takes_it_with_a_certificate(tmp_path: Path, servers: Servers, listen: int) -> None:
    file = servers.certificate
    text = configuration(workers=WORKERS, listen=listen, tls=(file, file), buffering=True)
    taken(text, tmp_path)
    assert f"listen {listen} ssl http2 backlog=4096;" in text
    # Who asks at the usual port for http is sent to the usual port for https, and to no other.
    assert ("return 301" in text) == (listen == 443)


def test_every_worker_stands_in_each_group_and_its_label_leads_to_it_alone() -> None:
    text = configuration(workers=WORKERS, routing="session")
    for number, worker in enumerate(WORKERS, 1):
        host, _, port = worker.rpartition(":")
        assert text.count(f"    server {worker} max_fails=3 fail_timeout=2s;") == 2
        assert text.count(f"upstream worker_{number} {{\n        server {worker};") == 1
        assert f"~^{worker_label(host.strip('[]'), int(port))} worker_{number};" in text


@pytest.mark.parametrize("routing", ROUTINGS)
def test_it_is_read_on_a_screen_with_a_reason_beside_each_line(routing: str) -> None:
    text = configuration(workers=WORKERS, routing=routing, name="chat.example.org")
    assert max(map(len, text.splitlines())) <= 100
    # A line is explained above it, or stands below one that is: only brackets and listings of
    # files and names explain themselves.
    paragraphs = re.split(r"\n\s*\n", text)
    plain = [part for part in paragraphs if not re.search(r"^\s*#", part, re.MULTILINE)]
    obvious = re.compile(r"\s*(upstream worker_\d|client_body_temp_path|http \{)")
    assert [part for part in plain if not obvious.search(part)] == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"workers": []}, "there must be workers"),
        ({"workers": ["127.0.0.1:6001"] * 2}, "none of them twice"),
        ({"workers": ["127.0.0.1"]}, "is no worker"),
        ({"workers": ["127.0.0.1:0"]}, "is no worker"),
        ({"workers": ["127.0.0.1:65536"]}, "is no worker"),
        ({"workers": ["a:1; }"]}, "is no worker"),
        ({"workers": ["a b:1"]}, "is no worker"),
        ({"workers": ["web:6001"], "routing": "session"}, "web is a name"),
        ({"routing": "random"}, "random is no routing"),
        ({"listen": "80; include /etc/passwd"}, "is nothing to listen on"),
        ({"listen": 0}, "is nothing to listen on"),
        ({"listen": "80\n"}, "is nothing to listen on"),
        ({"name": "a; }"}, "is no name of a site"),
        ({"name": ""}, "is no name of a site"),
        ({"tls": ('a"b', "key")}, "has a character"),
        ({"tls": ("a$b", "key")}, "has a character"),
        ({"tls": ("cert", "a\nb")}, "has a character"),
    ],
)
def test_what_cannot_be_written_is_said(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        configuration(**({"workers": ["127.0.0.1:6001"]} | options))


def test_two_workers_with_one_label_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.cluster.nginx_config.label", lambda host, port: "abcdef")
    with pytest.raises(ValueError, match="the same label"):
        configuration(workers=WORKERS, routing="session")


# --- the command line ----------------------------------------------------------------------------


def test_the_command_prints_it() -> None:
    result = run("nginx", "--workers", "2", "--base-port", "7001", "--worker", "10.0.0.2:7001")
    assert (result.returncode, result.stderr) == (0, "")
    workers = ["127.0.0.1:7001", "127.0.0.1:7002", "10.0.0.2:7001"]
    assert result.stdout == configuration(workers=workers)


def test_with_a_certificate_it_listens_for_https(tmp_path: Path) -> None:
    files = ("cert.pem", "key.pem")
    result = run("nginx", "--worker", "10.0.0.2:7001", "--tls", *files, "--name", "a.example.org")
    assert result.stdout == configuration(
        workers=["10.0.0.2:7001"], listen=443, tls=files, name="a.example.org"
    )


@pytest.mark.parametrize(
    ("options", "status", "complaint"),
    [
        (["--workers", "0"], 2, "must be a whole number above 0"),
        (["--worker", "somewhere"], 2, "somewhere is no worker: HOST:PORT is"),
        (["--routing", "luck"], 2, "invalid choice: 'luck'"),
        (["--workers", "2", "--base-port", "65535"], 1, "127.0.0.1:65536 is no worker"),
        (["--listen", "here"], 1, "here is nothing to listen on"),
        (["--tls", "cert.pem"], 2, "expected 2 arguments"),
    ],
)
def test_a_mistake_is_one_line(options: list[str], status: int, complaint: str) -> None:
    result = run("nginx", *options)
    assert (result.returncode, result.stdout) == (status, "")
    assert complaint in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


# --- what the docs show --------------------------------------------------------------------------

DEPLOY = (ROOT / "docs" / "deploy.md").read_text("utf-8")


@pytest.mark.parametrize("command", re.findall(r"^    realtime (nginx [^>\n]+)", DEPLOY, re.M))
def test_what_the_docs_order_is_printed(command: str) -> None:
    result = run(*command.split())
    assert (result.returncode, result.stderr) == (0, "")


async def test_what_the_docs_watch_is_there(servers: Servers) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    metrics = (await request(server.url, "GET", "/metrics")).body.decode()
    named = set(re.findall(r"realtime_(?!cluster)\w+", DEPLOY))
    assert len(named) >= 11
    assert {name for name in named if f"# HELP {name}" not in metrics} == set()
