"""The configuration of haproxy: its contents, what is refused, and that haproxy accepts it."""

import itertools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from realtime.cluster.haproxy_config import configuration
from realtime.cluster.proxy_config import ROUTINGS
from realtime.transports.affinity import worker_label
from tests.cases import each
from tests.conftest import make_certificate
from tests.haproxy_fixture import HAProxy

WORKERS = ["127.0.0.1:6001", "10.0.0.2:6001", "[fd00::2]:6001"]


def check_with_haproxy(text: str, folder: Path) -> None:
    """haproxy accepts it, without a warning."""
    file = folder / "haproxy.cfg"
    file.write_text(text)
    command = [HAProxy.program(), "-c", "-f", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (result.returncode, result.stderr) == (0, ""), text


# Each value of each option with each value of each other one, in 12 of 48 combinations: a start of
# haproxy takes a third of a second.
COMBINATIONS = [
    (routing, listen, bool((r + n) % 2), ["", "/a.b/chat"][(r + n // 2) % 2])
    for r, routing in enumerate(ROUTINGS)
    for n, listen in enumerate([80, "*:443", "127.0.0.1:8080", "[::1]:443"])
]


def test_the_combinations_have_every_pair() -> None:
    for one, other in itertools.combinations(range(4), 2):
        values = [{row[at] for row in COMBINATIONS} for at in (one, other)]
        assert {(row[one], row[other]) for row in COMBINATIONS} == {*itertools.product(*values)}


@each("routing, listen, tls, root_path", COMBINATIONS)
def test_haproxy_accepts_it(
    tmp_path: Path, routing: str, listen: str | int, tls: bool, root_path: str
) -> None:
    file = tmp_path / "site.pem"
    if tls and not file.exists():
        make_certificate(file)
    text = configuration(
        workers=WORKERS,
        listen=listen,
        routing=routing,
        tls=file if tls else None,
        root_path=root_path,
    )
    check_with_haproxy(text, tmp_path)


@each(("listen", "redirects"), [(443, True), (8443, False)])
def test_port_80_redirects_to_port_443_and_to_no_other(listen: int, redirects: bool) -> None:
    text = configuration(workers=WORKERS, listen=listen, tls="site.pem")
    assert ("    bind :80\n" in text) == redirects
    assert ("redirect scheme https" in text) == redirects


def test_haproxy_accepts_the_line_for_clients_without_rfc_8441(tmp_path: Path) -> None:
    make_certificate(tmp_path / "site.pem")
    text = configuration(workers=WORKERS, listen=8443, tls=tmp_path / "site.pem")
    changed = text.replace("#     h2-workaround", "h2-workaround")
    assert changed != text
    check_with_haproxy(changed, tmp_path)


def test_every_worker_is_in_each_backend_and_its_label_leads_to_it_alone() -> None:
    text = configuration(workers=WORKERS, routing="session")
    for number, worker in enumerate(WORKERS, 1):
        host, _, port = worker.rpartition(":")
        assert text.count(f"    server worker_{number} {worker}") == 3
        label = worker_label(host.strip("[]"), int(port))
        assert f"    use-server worker_{number} if {{ url_param(sid) -m beg {label} }}" in text


@each(("root_path", "part"), [("", 4), ("/chat", 5), ("/a/chat", 6)])
def test_the_session_of_sockjs_is_found_below_a_path(root_path: str, part: int) -> None:
    text = configuration(workers=WORKERS, routing="session", root_path=root_path)
    assert f"balance hash path,field({part},/)" in text


@each(("routing", "tls"), itertools.product(ROUTINGS, [None, "site.pem"]))
def test_each_line_has_its_reason_and_fits_on_a_screen(routing: str, tls: str | None) -> None:
    text = configuration(workers=WORKERS, routing=routing, tls=tls, name="chat.example.org")
    if tls is None:  # else a line has the path of a file
        assert max(map(len, text.splitlines())) <= 100
    # A comment above a line explains it and the lines below.
    paragraphs = re.split(r"\n\s*\n", text)
    plain = [part for part in paragraphs if not re.search(r"^\s*#", part, re.MULTILINE)]
    assert [part for part in plain if not part.startswith("defaults\n")] == []


@each(
    ("options", "message"),
    [
        ({"workers": ["a:1 check"]}, "is not the address of a worker"),
        ({"listen": "80 ssl"}, "haproxy cannot listen on"),
        ({"name": "a b"}, "is not a host name"),
        ({"tls": 'a"b'}, "has a character with a meaning of its own to haproxy"),
        ({"tls": "a$b"}, "has a character"),
    ],
)
def test_what_cannot_be_written_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        configuration(**({"workers": ["127.0.0.1:6001"]} | options))
