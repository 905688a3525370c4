"""Which transports need sticky routing, and which routing works: through a proxy, to three workers.

The two libraries use polling here, as they do where a WebSocket is blocked: then one session is
many requests.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.session import FALLBACKS
from realtime.client import CLIENTS, Client, Refused, get_json, request
from realtime.client.socketio import SocketIOPollingClient
from realtime.cluster.proxy_config import ROUTINGS
from tests.conftest import Redis, make_certificate
from tests.haproxy_fixture import HAProxy
from tests.nginx_fixture import Fleet
from tests.proxy_fixture import ReverseProxy
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import OURS, say_in, take, texts

LIBRARIES = dict(FALLBACKS.values())
VISITS = 10


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A certificate with its key, which our clients trust."""
    file = tmp_path_factory.mktemp("tls") / "site.pem"
    make_certificate(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        yield file


@dataclass(frozen=True)
class Routed:
    """A proxy with one kind of routing, and the workers behind it."""

    kind: type[ReverseProxy]
    routing: str
    workers: list[Server]
    url: str
    port: int


@pytest.fixture(scope="module")
def workers(redis: Redis) -> Iterator[list[Server]]:
    """Three workers, behind each proxy with each kind of routing in turn."""
    options = ("--hub", redis.url, "--trust-proxy", "127.0.0.1", "--messages-per-second", "0")
    options += ("--wrong-keys-per-minute", "0")
    with ExitStack() as stack:
        yield [stack.enter_context(Server(*options)) for _ in range(3)]


@pytest.fixture(scope="module", params=ROUTINGS)
def fleet(
    request: pytest.FixtureRequest, kind: type[ReverseProxy], workers: list[Server]
) -> Iterator[Routed]:
    addresses = [f"127.0.0.1:{worker.port}" for worker in workers]
    with kind(addresses, routing=request.param) as proxy:
        yield Routed(kind, request.param, workers, proxy.url, proxy.port)


async def events_sent(fleet: Routed | Fleet, transport: str) -> list[int]:
    """Return how many events each worker has sent over this transport."""
    rows = [(await get_json(worker.url, "/wire"))["transports"] for worker in fleet.workers]
    return [row.get(transport, {"events": 0})["events"] for row in rows]


async def visit(fleet: Routed, kind: type[Client], room: str) -> bool:
    """Open a session and receive an old and a new message; return whether this worked."""
    await say_in(fleet.workers[0], room, "before")
    client = kind(fleet.url, room)
    try:
        await client.open()
        await say_in(fleet.workers[0], room, "now")
        return len(await take(client, 2)) == 2
    except (ConnectionError, Refused):
        return False
    finally:
        client.abort()


@pytest.mark.parametrize("transport", LIBRARIES)
async def test_a_session_of_polls_needs_sticky_routing(
    fleet: Routed, room: str, transport: str
) -> None:
    before = await events_sent(fleet, transport)
    held = [await visit(fleet, LIBRARIES[transport], f"{room}-{n}") for n in range(VISITS)]
    after = await events_sent(fleet, transport)
    busy = sum(now > then for now, then in zip(after, before, strict=True))
    if fleet.routing == "any":
        assert not any(held)  # each of the three requests goes to another worker
    else:
        # With `address` all sessions of one address are at one worker; with `session` they spread.
        assert (all(held), busy > 1) == (True, fleet.routing == "session")


@pytest.mark.parametrize("transport", OURS)
async def test_our_own_transports_need_none(fleet: Routed, room: str, transport: str) -> None:
    for turn in range(3):
        assert await visit(fleet, CLIENTS[transport], f"{room}-{turn}")


# --- every address -------------------------------------------------------------------------------

POLLING = "EIO=4&transport=polling&roomid=lobby"
TARGETS = [
    *("/", "/healthz", "/readyz", "/rooms", "/rooms/", "/rooms/lobby", "/rooms/lobby/members"),
    *("/rooms/lobby/short_polling", "/rooms/lobby/long_polling?wait=0", "/rooms/ü/members"),
    *("/rooms//members", "/rooms/../healthz", "/rooms/%2E%2E/healthz", "/rooms/a%2Fb/members"),
    *("/sockjs", "/sockjs/", "/sockjs//", "/sockjs/info", "/sockjs/iframe.html", "/sockjs/x"),
    *("/sockjs/000/a", "/sockjs/000/a/websocket", "/sockjs/0/a/b/xhr", "/sockjs/websocket"),
    *("/socket.io", "/socket.io/", f"/socket.io?{POLLING}", f"/socket.io/?{POLLING}"),
    *("/socket.io?", "/socket.io/x", "/socketxio/", "/socket.io?sid=none&EIO=4"),
    *("/demos", "/demos/", "/demos/lab.html", "/nothing", "/wire", "/lab", "/favicon.ico"),
]


async def answer(port: int, method: str, target: str) -> tuple[str, list[str], bytes]:
    """Return the status, the type of the body and what it says about an error."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fields = "Host: localhost\r\nConnection: close\r\nContent-Length: 0"
    writer.write(f"{method} {target} HTTP/1.1\r\n{fields}\r\n\r\n".encode())
    async with asyncio.timeout(20):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *lines = head.decode("latin1").split("\r\n")
    names = ("content-type:", "location:", "allow:")
    kept = sorted(line.lower() for line in lines if line.lower().startswith(names))
    return status, kept, body if b'"error"' in body else b""


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_every_address_does_behind_a_proxy_what_it_does_without(
    fleet: Routed, method: str
) -> None:
    worker = fleet.workers[0]
    targets = set(TARGETS)
    if fleet.kind is HAProxy:
        # A URL is ASCII (RFC 3986 §2), and haproxy refuses any other; browsers send escapes.
        invalid = {target for target in targets if not target.isascii()}
        assert {(await answer(fleet.port, method, target))[0] for target in invalid} == {
            "HTTP/1.1 400 Bad request"
        }
        targets -= invalid
    different = {
        target: (through, direct)
        for target in targets
        if (through := await answer(fleet.port, method, target))
        != (direct := await answer(worker.port, method, target))
    }
    assert not different


async def test_a_socketio_session_works_without_the_slash(fleet: Routed, room: str) -> None:
    if fleet.routing == "any":
        return  # no session of polls works, with or without the slash
    path = f"/socket.io?EIO=4&transport=polling&roomid={room}"
    for _ in range(VISITS):
        opened = await request(fleet.url, "GET", path)
        sid = json.loads(opened.body[1:])["sid"]
        assert (await request(fleet.url, "POST", f"{path}&sid={sid}", b"40")).body == b"ok"
        assert (await request(fleet.url, "GET", f"{path}&sid={sid}")).body.startswith(b"40{")


async def test_the_session_of_sockjs_may_have_escapes(fleet: Routed, room: str) -> None:
    if fleet.routing == "any":
        return
    for number in range(VISITS):
        path = f"/sockjs/000/{room}%2Ex%2F{number}"
        assert (await request(fleet.url, "POST", f"{path}/xhr")).body == b"o\n"
        assert (await request(fleet.url, "POST", f"{path}/xhr_send", b'["x"]')).status == 204


# --- the client's address -----------------------------------------------------------------------

SPOOFED = "X-Forwarded-For: 198.51.100.1"
BODY = b'{"text":"hello"}'


async def test_an_address_that_a_client_claims_does_not_reach_a_worker(
    kind: type[ReverseProxy], redis: Redis
) -> None:
    options = ("--messages-per-second", "0.001", "--message-burst", "1")
    with Fleet(redis.url, *options, count=1, kind=kind) as fleet:
        statuses = []
        for claim in ("X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 198.51.100.2"):
            async with Raw(fleet) as raw:  # type: ignore[arg-type]
                fields = ["POST /rooms/lobby/messages HTTP/1.1", "Host: localhost", claim]
                length = f"Content-Length: {len(BODY)}"
                raw.send("\r\n".join([*fields, length, "", ""]).encode() + BODY)
                statuses.append((await raw.until(b"\r\n"))[:12])
    assert statuses == [b"HTTP/1.1 201", b"HTTP/1.1 429"]


# --- other addresses ----------------------------------------------------------------------------


async def test_every_transport_works_over_tls_and_with_workers_on_ipv6(
    kind: type[ReverseProxy], redis: Redis, room: str, certificate: Path
) -> None:
    options = ("--hub", redis.url, "--trust-proxy", "::1", "--host", "::1")
    tls = certificate if kind is HAProxy else (certificate, certificate)
    with ExitStack() as stack:
        workers = [stack.enter_context(Server(*options)) for _ in range(2)]
        addresses = [f"[::1]:{worker.port}" for worker in workers]
        proxy = stack.enter_context(kind(addresses, routing="session", tls=tls))
        assert proxy.url.startswith("https:")
        for name, client_of in (CLIENTS | LIBRARIES).items():
            own = f"{room}-{name.replace(', ', '-')}"
            for _ in range(2):  # a session at each of the workers
                client = client_of(proxy.url, own, after="now")
                await client.open()
                await say_in(workers[0], own, "hello")
                assert texts(await take(client, 1)) == ["hello"]
                client.abort()


# --- a worker that died ------------------------------------------------------------------------


async def test_a_socketio_client_whose_worker_died_starts_a_new_session_and_misses_nothing(
    kind: type[ReverseProxy], redis: Redis, room: str
) -> None:
    with Fleet(redis.url, count=2, kind=kind, routing="session") as fleet:
        await say_in(fleet, room, "one")  # type: ignore[arg-type]
        session = SocketIOPollingClient(fleet.url, room)
        await session.open()
        assert texts(await take(session, 1)) == ["one"]
        counts = await events_sent(fleet, "socketio")
        victim: Server = fleet.workers[counts.index(max(counts))]
        victim.kill()
        await victim.ended()
        await say_in(fleet, room, "two")  # type: ignore[arg-type]
        with pytest.raises(Refused) as refused:
            await take(session, 1)
        session.abort()
        assert refused.value.code == "busy"  # no other worker is tried
        successor = SocketIOPollingClient(fleet.url, room, after=session.cursor)
        await successor.open()
        assert texts(await take(successor, 1)) == ["two"]
        successor.abort()


async def test_a_sockjs_client_whose_worker_died_learns_it(
    kind: type[ReverseProxy], redis: Redis
) -> None:
    with Fleet(redis.url, count=2, kind=kind, routing="session") as fleet:
        session = "/sockjs/000/abcdefgh"
        opened = await request(fleet.url, "POST", f"{session}/xhr", b"")
        for worker in fleet.workers:
            rows = (await get_json(worker.url, "/wire"))["transports"]
            if "sockjs" in rows:
                worker.kill()
                await worker.ended()
        again = await request(fleet.url, "POST", f"{session}/xhr", b"")
        sent = await request(fleet.url, "POST", f"{session}x/xhr_send", b'["hello"]')
    # An `o` on an open session: the library reports "Server lost session", and closes it.
    assert (opened.body, again.body) == (b"o\n", b"o\n")
    assert sent.status == 404
