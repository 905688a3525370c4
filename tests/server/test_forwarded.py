"""The address of a client behind a proxy, and which proxies are trusted to name it."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from realtime.client import CLIENTS
from realtime.server.forwarded import TrustedProxies, parse_network
from realtime.transports.affinity import worker_label
from tests.cases import each
from tests.cli.command_line import run
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import Raw

PROXIES = TrustedProxies(map(parse_network, ["10.0.0.0/8", "127.0.0.1", "fd00::/8"]))


@each(
    ("forwarded_for", "client"),
    [
        (None, "10.0.0.9"),
        ("", "10.0.0.9"),
        (" , ,", "10.0.0.9"),
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7\t", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        # The client can write everything before the last untrusted hop.
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("127.0.0.1, 203.0.113.7", "203.0.113.7"),
        ("<script>, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.1.2.3, fd00::1", "203.0.113.7"),
        ("203.0.113.7,, 10.1.2.3,", "203.0.113.7"),
        ("203.0.113.7, ::ffff:10.1.2.3", "203.0.113.7"),
        # A trusted proxy is itself the client.
        ("10.4.4.4, 10.1.2.3", "10.4.4.4"),
        # One invalid address makes the field worthless.
        ("unknown", "10.0.0.9"),
        ("203.0.113.7, unknown", "10.0.0.9"),
        ("203.0.113.7, _hidden, 10.1.2.3", "10.0.0.9"),
        ("203.0.113.07", "10.0.0.9"),
        ("203.0.113.7.8", "10.0.0.9"),
        ("3405803783", "10.0.0.9"),
        ("203.0.113.7:port", "10.0.0.9"),
        ("203.0.113.7:123456", "10.0.0.9"),
        ("2001:db8::7]:80", "10.0.0.9"),
        ("[203.0.113.7", "10.0.0.9"),
        ("for=203.0.113.7", "10.0.0.9"),
        ("203.0.113.7 10.1.2.3", "10.0.0.9"),
        ("203.0.113.7\x00", "10.0.0.9"),
        ("２０３.0.113.7", "10.0.0.9"),  # digits, but not ASCII
    ],
)
def test_the_last_hop_that_is_not_trusted_is_the_client(
    forwarded_for: str | None, client: str
) -> None:
    assert PROXIES.client_address("10.0.0.9", forwarded_for) == client


@each(
    ("peer", "trusted"),
    [
        ("10.255.0.1", True),
        ("127.0.0.1", True),
        ("::ffff:127.0.0.1", True),
        ("fd00::1%eth0", True),
        ("127.0.0.2", False),
        ("11.0.0.1", False),
        ("::1", False),
        ("", False),
    ],
)
def test_only_these_peers_are_trusted(peer: str, trusted: bool) -> None:
    assert PROXIES.trusts(peer) == trusted
    assert not TrustedProxies().trusts(peer)


@each("network", ["nginx", "10.0.0.1/8", "10.0.0.0/33", ""])
def test_an_invalid_network_is_a_command_line_error(network: str) -> None:
    result = run("--trust-proxy", network)
    assert result.returncode == 2
    assert "--trust-proxy" in result.stderr.splitlines()[-1]
    assert "10.0.0.2 or 10.0.0.0/8" in result.stderr
    assert "Traceback" not in result.stderr


# --- at the socket -------------------------------------------------------------------------------

# One message without a client id, and two connections.
NARROW = ("--messages-per-second", "0.001", "--message-burst", "1", "--connections-per-address")


@pytest.fixture
def trusting(servers: Servers) -> Server:
    return servers.get("memory", *NARROW, "2", "--trust-proxy", "127.0.0.1")


@pytest.fixture
def distrusting(servers: Servers) -> Server:
    return servers.get("memory", *NARROW, "2", "--trust-proxy", "10.0.0.0/8")


def message(*fields: str, version: str = "1.1") -> bytes:
    body = b'{"text":"hello"}'
    lines = ["POST /rooms/lobby/messages HTTP/" + version, "Host: localhost", *fields]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def status(server: Server, request: bytes) -> int:
    async with Raw(server) as raw:
        raw.send(request)
        return int((await raw.head())[0].split()[1])


@pytest.fixture
def addresses(request: pytest.FixtureRequest) -> Iterator[str]:
    """Addresses that no other test uses: a server remembers the rate of each."""
    network = sum(map(ord, request.node.name)) % 250
    return (f"203.0.{network}.{number}" for number in range(1, 255))


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_the_rate_is_per_client_that_a_trusted_proxy_names(
    trusting: Server, addresses: Iterator[str], version: str
) -> None:
    # The fast path parses one of the versions, Tornado the other.
    ada, bob = (f"X-Forwarded-For: {next(addresses)}" for _ in range(2))
    assert await status(trusting, message(ada, version=version)) == 201
    assert await status(trusting, message(ada, version=version)) == 429
    assert await status(trusting, message(bob, version=version)) == 201


async def test_a_client_with_many_ipv6_addresses_has_the_limits_of_one(trusting: Server) -> None:
    def named(address: str) -> bytes:
        return message(f"X-Forwarded-For: {address}")

    assert await status(trusting, named("2001:db8:0:1::1")) == 201
    assert await status(trusting, named("2001:db8:0:1:ffff::2")) == 429
    assert await status(trusting, named("2001:db8:0:2::1")) == 201


async def test_requests_of_many_clients_share_a_proxys_connection(
    trusting: Server, addresses: Iterator[str]
) -> None:
    names = [next(addresses) for _ in range(3)]
    async with Raw(trusting) as raw:
        statuses = []
        for name in [*names, *names]:
            raw.send(message(f"X-Forwarded-For: {name}"))
            head = await raw.head()
            await raw.body(head)
            statuses.append(head[0])
    assert statuses == ["HTTP/1.1 201 Created"] * 3 + ["HTTP/1.1 429 Too Many Requests"] * 3


async def test_addresses_that_the_client_claims_are_ignored(
    trusting: Server, addresses: Iterator[str]
) -> None:
    mine = next(addresses)
    statuses = [
        await status(trusting, message(f"X-Forwarded-For: {claim}, {mine}"))
        for claim in ("198.51.100.1", "198.51.100.2", "127.0.0.1", "junk")
    ]
    two_fields = message("X-Forwarded-For: 198.51.100.3", f"X-Forwarded-For: {mine}")
    statuses.append(await status(trusting, two_fields))
    assert statuses == [201, 429, 429, 429, 429]


async def test_an_untrusted_peer_is_ignored(distrusting: Server, addresses: Iterator[str]) -> None:
    fields = [
        f"X-Forwarded-For: {next(addresses)}",
        f"X-Forwarded-For: {next(addresses)}",
        "X-Forwarded-For: 10.0.0.1",
        f"Forwarded: for={next(addresses)}",
        f"X-Real-IP: {next(addresses)}",
    ]
    assert [await status(distrusting, message(field)) for field in fields] == [201, *[429] * 4]


async def test_connections_are_counted_per_client(
    trusting: Server, room: str, addresses: Iterator[str]
) -> None:
    ada, bob = (f"X-Forwarded-For: {next(addresses)}" for _ in range(2))
    path = f"/rooms/{room}/sse?after=now"
    async with Raw(trusting) as one, Raw(trusting) as two, Raw(trusting) as three:
        for raw in (one, two):
            raw.ask(path, ada)
            assert (await raw.head())[0] == "HTTP/1.1 200 OK"
        three.ask(path, ada)
        head = await three.head()
        assert head[0] == "HTTP/1.1 503 Service Unavailable"
        assert json.loads(await three.body(head))["error"]["code"] == "busy"
        # The connection is the proxy's: its next request can be another client's.
        three.ask(path, bob)
        assert (await three.head())[0] == "HTTP/1.1 200 OK"
    async with asyncio.timeout(10):  # until the server has noticed the closes
        while (await status(trusting, get(path, ada))) != 200:
            await asyncio.sleep(0.02)


async def test_a_connection_between_requests_counts_for_no_client(
    trusting: Server, room: str, addresses: Iterator[str]
) -> None:
    ada = f"X-Forwarded-For: {next(addresses)}"
    async with Raw(trusting) as one, Raw(trusting) as two, Raw(trusting) as three:
        for raw in (one, two, three):
            for path in (f"/rooms/{room}/short_polling", "/healthz"):
                raw.ask(path, ada)
                head = await raw.head()
                assert head[0] == "HTTP/1.1 200 OK"
                await raw.body(head)


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode()


@pytest.mark.parametrize(
    "path", ["/sockjs/info", "/socket.io/?EIO=4&roomid=lobby", "/healthz", "/demos/sse.html"]
)
async def test_a_client_over_the_limit_is_rejected_at_every_address(
    trusting: Server, room: str, addresses: Iterator[str], path: str
) -> None:
    ada = f"X-Forwarded-For: {next(addresses)}"
    async with Raw(trusting) as one, Raw(trusting) as two:
        for raw in (one, two):
            raw.ask(f"/rooms/{room}/fetch_streaming", ada)
            await raw.head()
        assert await status(trusting, get(path, ada)) == 503
        assert await status(trusting, get(path, f"X-Forwarded-For: {next(addresses)}")) == 200


async def test_a_socketio_session_belongs_to_the_client_that_opened_it(
    trusting: Server, addresses: Iterator[str]
) -> None:
    ada, bob = (f"X-Forwarded-For: {next(addresses)}" for _ in range(2))
    path = "/socket.io/?EIO=4&transport=polling"
    async with Raw(trusting) as raw:
        raw.ask(f"{path}&roomid=lobby", ada)
        opened = json.loads((await raw.body(await raw.head()))[1:])
    assert opened["sid"].startswith(worker_label("127.0.0.1", trusting.port))
    assert len(opened["sid"]) == 20
    assert await status(trusting, get(f"{path}&sid={opened['sid']}", bob)) == 400
    send = f"POST {path}&sid={opened['sid']} HTTP/1.1\r\nHost: localhost\r\n{ada}\r\n"
    assert await status(trusting, f"{send}Content-Length: 2\r\n\r\n40".encode()) == 200


async def test_a_sockjs_session_belongs_to_the_client_that_opened_it(
    trusting: Server, addresses: Iterator[str]
) -> None:
    ada, bob = (f"X-Forwarded-For: {next(addresses)}" for _ in range(2))

    async def send(transport: str, client: str, body: str) -> int:
        head = (
            f"POST /sockjs/000/{trusting.port}/{transport} HTTP/1.1\r\nHost: localhost\r\n{client}"
        )
        return await status(
            trusting, f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    assert await send("xhr", ada, "") == 200
    assert await send("xhr_send", bob, '["{}"]') == 404
    assert await send("xhr_send", ada, '["{}"]') == 204


@pytest.mark.parametrize("transport", ["websocket", "sockjs", "socketio"])
async def test_a_frame_counts_for_the_client_that_opened_its_connection(
    trusting: Server, room: str, addresses: Iterator[str], transport: str
) -> None:
    mine = {"X-Forwarded-For": next(addresses)}
    async with CLIENTS[transport](trusting.url, room, headers=mine) as client:
        await client.send("hello")
        assert await status(trusting, message(f"X-Forwarded-For: {mine['X-Forwarded-For']}")) == 429
