"""Which setting of a proxy breaks which transport: each line of the table in docs/deploy.md."""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.session import FALLBACKS
from realtime.client import CLIENTS, BadResponse, Client, Refused
from realtime.client.long_polling import LongPollingClient
from realtime.tasks import cancel_and_wait
from tests.caddy_fixture import Caddy
from tests.conftest import Redis, make_certificate
from tests.haproxy_fixture import HAProxy
from tests.nginx_fixture import Nginx
from tests.proxy_fixture import ReverseProxy
from tests.server_process import ROOT, Server
from tests.transports.readers import OURS, say_in

DEPLOY = (ROOT / "docs" / "deploy.md").read_text("utf-8")
KINDS: dict[str, type[ReverseProxy]] = {"nginx": Nginx, "haproxy": HAProxy, "Caddy": Caddy}
# The columns of the table.  The libraries use polling: over a WebSocket they behave as it does.
TRANSPORTS: dict[str, Callable[..., Client]] = {
    **{name: CLIENTS[name] for name in OURS},
    **dict(FALLBACKS.values()),
    # What cuts a poll when it is answered, does so soon.
    "long_polling": partial(LongPollingClient, wait=3),
}
# What a stream starts with is long enough to be worth compression, and what follows is not.
OLD, NEW = "x" * 1000, "hello"
# A timeout that only a failure reaches.
SECONDS = 20.0
# How long nothing arrives of what is late.  If it is too short, a wrong line may pass; none fails.
QUIET_SECONDS = 0.3
# How long all are idle with a timeout of 1 s that cuts none: the same is true of this.
IDLE_SECONDS = 1.5
# Every browser offers compression.
HEADERS = {"Accept-Encoding": "gzip"}


class Row(NamedTuple):
    """A line of the table: what each transport does with these settings of a proxy."""

    proxy: str
    settings: list[str]
    expected: dict[str, str]

    @classmethod
    def parse(cls, line: str) -> "Row":
        proxy, settings, *marks, _ = (cell.strip() for cell in line.strip("|").split("|"))
        return cls(
            proxy, re.findall("`(.+?)`", settings), dict(zip(TRANSPORTS, marks, strict=True))
        )


def table(heading: str) -> list[str]:
    """The lines of the table that starts with this heading."""
    lines = DEPLOY[DEPLOY.index(heading) :].partition("\n\n")[0].splitlines()
    return lines[2:]


ROWS = [Row.parse(line) for line in table("| proxy | setting |")]


# --- a setting in a configuration that works -----------------------------------------------------


def set_nginx(text: str, setting: str) -> str:
    """Replace a directive of the server, or add it."""
    name = re.escape(setting.rpartition(" ")[0])
    text = re.sub(rf"^ +{name} .*;\n", "", text, flags=re.M)
    return re.sub(r"^( +server_name .*;\n)", rf"\g<1>{setting}\n", text, flags=re.M)


def set_haproxy(text: str, setting: str) -> str:
    """Replace a line of the defaults or of the frontend, or add it."""
    name = " ".join(setting.removeprefix("no ").split()[:2])
    section = (
        "frontend site" if setting.startswith(("http-response", "compression")) else "defaults"
    )
    text = re.sub(rf"^ +{re.escape(name)}\b.*\n", "", text, flags=re.M)
    return text.replace(f"\n{section}\n", f"\n{section}\n    {setting}\n")


def set_caddy(text: str, setting: str) -> str:
    """Replace a line of `reverse_proxy`, or add it there, to the site or to the global options."""
    name = setting.split()[0]
    places = {"servers": "admin off\n", "encode": "bind 127.0.0.1\n"}
    text = re.sub(rf"^ +{name} .*\n", "", text, flags=re.M)
    setting = setting.replace("{ ", "{\n").replace(" }", "\n}")
    place = places.get(name, "lb_try_duration 2s\n")
    return text.replace(place, f"{place}{setting}\n")


SET: dict[str, Callable[[str, str], str]] = {
    "nginx": set_nginx,
    "haproxy": set_haproxy,
    "Caddy": set_caddy,
}


def start(row: Row, workers: list[Server]) -> ReverseProxy:
    """Return the proxy of a line, in front of these workers."""
    options: dict[str, Any] = {} if row.proxy == "Caddy" else {"routing": "session"}
    lines = []
    for setting in row.settings:
        if setting.startswith("--"):
            options[setting.split()[0][2:]] = setting.split()[1]
        else:
            lines.append(setting)

    def edit(text: str) -> str:
        for line in lines:
            text = SET[row.proxy](text, line)
            missing = {word for word in line.split() if word not in text}
            assert not missing, line
        return text

    addresses = [f"127.0.0.1:{worker.port}" for worker in workers]
    return KINDS[row.proxy](addresses, edit=edit, **options)


# --- what the transports do ----------------------------------------------------------------------


@dataclass
class Observed:
    """A reader, and how far it came: opening, open, then no, cut or yes."""

    client: Client
    state: str = "opening"

    async def read(self) -> None:
        """Open, and receive events up to the new one."""
        try:
            await self.client.open()
            self.state = "open"
            while (await self.client.receive()).get("text") != NEW:
                pass
        except (ConnectionError, Refused, BadResponse):
            self.state = "no" if self.state == "opening" else "cut"
        else:
            self.state = "yes"

    @property
    def result(self) -> str:
        return self.state if self.state in ("yes", "cut", "no") else "late"


async def observe(row: Row, url: str, worker: Server, room: str) -> dict[str, str]:
    """Return what each transport does through the proxy at `url`, while `worker` publishes."""
    observed = {
        name: Observed(kind(url, room, headers=HEADERS)) for name, kind in TRANSPORTS.items()
    }

    async def until(names: list[str], *states: str) -> None:
        """Wait until all of these are in one of these states."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                while any(observed[name].state not in states for name in names):
                    await asyncio.sleep(0.01)

    def marked(mark: str) -> list[str]:
        return [name for name, expected in row.expected.items() if expected == mark]

    await say_in(worker, room, OLD)
    tasks = []
    try:
        # One after the other, the libraries first: so no request of another one is between those of
        # a session, and round robin separates them.
        for name in reversed(observed):
            if name == "short_polling":
                # Those that are cut are cut before the event, and those that are not stay open as
                # long.  Caddy repeats a poll that was cut on each idle connection to a worker: so
                # nobody makes more of these meanwhile.
                await until(marked("no"), "no")
                await until(marked("cut"), "no", "cut")
            tasks.append(asyncio.create_task(observed[name].read()))
            if row.expected[name] != "late":
                await until([name], "open", "yes", "no", "cut")
        await until(marked("yes"), "open", "no", "cut")
        if any(re.search(r"\b1s\b", setting) for setting in row.settings) and not marked("cut"):
            await asyncio.sleep(IDLE_SECONDS)
        await say_in(worker, room, NEW)
        await until(marked("yes"), "yes", "no", "cut")
        if "late" in row.expected.values():
            await asyncio.sleep(QUIET_SECONDS)
    finally:
        await cancel_and_wait(tasks)
        for one in observed.values():
            one.client.abort()
    return {name: one.result for name, one in observed.items()}


@pytest.fixture(scope="module")
def workers(redis: Redis) -> Iterator[list[Server]]:
    options = ("--hub", redis.url, "--trust-proxy", "127.0.0.1", "--messages-per-second", "0")
    # What cuts a stream when the next write fails, cuts it at a heartbeat.
    options += ("--heartbeat-seconds", "2")
    with ExitStack() as stack:
        yield [stack.enter_context(Server(*options)) for _ in range(2)]


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.proxy} {row.settings[-1]}" for row in ROWS])
async def test_each_line_of_the_table_is_true(row: Row, workers: list[Server], room: str) -> None:
    with start(row, workers) as proxy:
        assert await observe(row, proxy.url, workers[0], room) == row.expected


@pytest.mark.parametrize("proxy", KINDS)
async def test_without_these_settings_every_transport_works(
    proxy: str, workers: list[Server], room: str
) -> None:
    row = Row(proxy, [], dict.fromkeys(TRANSPORTS, "yes"))
    with start(row, workers) as started:
        assert await observe(row, started.url, workers[0], room) == row.expected


# --- HTTP/2 --------------------------------------------------------------------------------------

# RFC 9113 §3.4, §6.5: the preface, and a SETTINGS frame without any setting.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
SETTINGS = 4
MAX_CONCURRENT_STREAMS, ENABLE_CONNECT_PROTOCOL = 3, 8  # RFC 9113 §6.5.2, RFC 8441 §3


def http2_settings(port: int) -> dict[int, int]:
    """Return the settings that a server announces at the start of a connection."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), SECONDS) as plain,
        context.wrap_socket(plain) as secured,
        secured.makefile("rb") as stream,
    ):
        assert secured.selected_alpn_protocol() == "h2"
        secured.sendall(PREFACE)
        head = stream.read(9)
        assert head[3] == SETTINGS
        payload = stream.read(int.from_bytes(head[:3], "big"))
    return dict(struct.iter_unpack("!HI", payload))


@pytest.mark.parametrize("kind", KINDS.values())
def test_what_each_proxy_announces_over_http_2(
    kind: type[ReverseProxy], workers: list[Server], tmp_path: Path
) -> None:
    file = tmp_path / "site.pem"
    make_certificate(file)
    tls = file if kind is HAProxy else (file, file)
    with kind([f"127.0.0.1:{workers[0].port}"], tls=tls) as proxy:
        settings = http2_settings(proxy.port)
    column = list(KINDS.values()).index(kind) + 1
    cells = [line.strip("|").split("|") for line in table("| | nginx 1.22 |")]
    documented = {row[0].strip(): row[column].strip() for row in cells}
    streams, websockets = "streams of one connection", "a WebSocket is one of them (RFC 8441)"
    assert settings[MAX_CONCURRENT_STREAMS] == int(documented[streams])
    assert settings.get(ENABLE_CONNECT_PROTOCOL, 0) == (documented[websockets] == "yes")
