"""The configuration of nginx: its contents, what is refused, and that nginx accepts it."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from realtime.client import request
from realtime.cluster.nginx_config import configuration
from realtime.cluster.proxy_config import ROUTINGS
from realtime.transports.affinity import worker_label
from tests.cases import each
from tests.conftest import Servers
from tests.nginx_fixture import Nginx
from tests.server_process import ROOT

WORKERS = ["127.0.0.1:6001", "10.0.0.2:6001", "[fd00::2]:6001"]


def check_with_nginx(text: str, folder: Path) -> str:
    """Return what nginx prints about it; nginx must accept it."""
    (folder / "nginx.conf").write_text(text)
    command = [Nginx.program(), "-e", "stderr", "-t", "-p", str(folder), "-c", "nginx.conf"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert result.returncode == 0, result.stderr
    return result.stderr


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize(
    ("listen", "name"),
    [(8080, "_"), ("127.0.0.1:8080", "chat.example.org"), ("[::1]:8080", "*.example.org")],
)
def test_nginx_accepts_it(tmp_path: Path, routing: str, listen: str | int, name: str) -> None:
    text = configuration(workers=WORKERS, listen=listen, routing=routing, name=name)
    assert "[warn]" not in check_with_nginx(text, tmp_path)


@pytest.mark.parametrize("routing", ROUTINGS)
def test_below_a_path_nothing_else_reaches_the_workers(tmp_path: Path, routing: str) -> None:
    text = configuration(workers=WORKERS, listen=8080, routing=routing, root_path="/a.b/chat")
    check_with_nginx(text, tmp_path)
    locations = re.findall(r"location (?!@)(.*) \{(?!\s*internal)", text)
    assert locations
    assert all("/a.b/chat" in one.replace("\\", "") for one in locations), locations


@pytest.mark.parametrize("listen", [443, 8443])
def test_nginx_accepts_it_with_a_certificate(tmp_path: Path, servers: Servers, listen: int) -> None:
    file = servers.certificate
    text = configuration(workers=WORKERS, listen=listen, tls=(file, file), buffering=True)
    check_with_nginx(text, tmp_path)
    assert f"listen {listen} ssl http2 backlog=4096;" in text
    # Port 80 redirects to port 443, and to no other port.
    assert ("return 301" in text) == (listen == 443)


def test_every_worker_is_in_each_upstream_and_its_label_leads_to_it_alone() -> None:
    text = configuration(workers=WORKERS, routing="session")
    for number, worker in enumerate(WORKERS, 1):
        host, _, port = worker.rpartition(":")
        assert text.count(f"    server {worker} max_fails=0;") == 2
        assert text.count(f"upstream worker_{number} {{\n        server {worker};") == 1
        assert f"~^{worker_label(host.strip('[]'), int(port))} worker_{number};" in text


@each("routing", ROUTINGS)
def test_each_line_has_its_reason_and_fits_on_a_screen(routing: str) -> None:
    text = configuration(workers=WORKERS, routing=routing, name="chat.example.org")
    assert max(map(len, text.splitlines())) <= 100
    # A comment above a line explains it and the lines below; brackets and lists of files and names
    # need none.
    paragraphs = re.split(r"\n\s*\n", text)
    plain = [part for part in paragraphs if not re.search(r"^\s*#", part, re.MULTILINE)]
    obvious = re.compile(r"\s*(upstream worker_\d|client_body_temp_path|http \{)")
    assert [part for part in plain if not obvious.search(part)] == []


@each(
    ("options", "message"),
    [
        ({"workers": ["a:1; }"]}, "is not the address of a worker"),
        ({"listen": "80; include /etc/passwd"}, "nginx cannot listen on"),
        ({"name": "a; }"}, "is not a host name"),
        ({"tls": ('a"b', "key")}, "has a character with a meaning of its own to nginx"),
        ({"tls": ("a$b", "key")}, "has a character"),
        ({"tls": ("cert", "a\nb")}, "has a character"),
    ],
)
def test_what_cannot_be_written_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        configuration(**({"workers": ["127.0.0.1:6001"]} | options))


# --- the docs -----------------------------------------------------------------------------------

DEPLOY = (ROOT / "docs" / "deploy.md").read_text("utf-8")


async def test_the_metrics_in_the_docs_exist(servers: Servers) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    metrics = (await request(server.url, "GET", "/metrics")).body.decode()
    named = set(re.findall(r"realtime_(?!cluster)\w+", DEPLOY))
    assert len(named) >= 11
    assert {name for name in named if f"# HELP {name}" not in metrics} == set()
