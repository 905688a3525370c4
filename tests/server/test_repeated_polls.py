"""A connection that repeats its poll a hundred times is refused and counted as for the first one.

`World` is a connection to our own objects in this process, over a pair of sockets.
"""

import asyncio
import json
import math
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from tornado.netutil import ssl_wrap_socket
from tornado.web import Application

from realtime.brokers.memory import MemoryBroker
from realtime.core.access import EVERYTHING, Grant
from realtime.core.admission import Admission
from realtime.core.events import Draft
from realtime.core.hub import Hub
from realtime.core.moderation import Moderation
from realtime.core.presence import Presence
from realtime.errors import TicketExpired
from realtime.limits import Limits
from realtime.protocol.origin import OriginPolicy
from realtime.server import connection as connection_module
from realtime.server.config import ServerConfig
from realtime.server.connection import Router, ServerConnection
from realtime.server.forwarded import TrustedProxies
from realtime.server.sockets import load_tls
from realtime.server.stream import MeteredStream, MeteredTLSStream
from realtime.server.tap import TapRegistry, TapSubscriber
from realtime.server.traffic import TrafficStats
from realtime.transports.base import Services
from realtime.transports.long_polling import LongPolling
from realtime.transports.short_polling import ShortPolling
from tests.conftest import Servers

ROOM = "lobby"
ADDRESS = "10.0.0.1"
TIMES = 100
SHORT, LONG = "short_polling", "long_polling"
# A lease that is not renewed during a test, however slow the machine is.
LIMITS = Limits(messages_per_second=0, lease_seconds=3600)


class Tickets:
    """Grants `grant`, until that is None: then the ticket has ended."""

    mode = "tickets"

    def __init__(self) -> None:
        self.grant: Grant | None = EVERYTHING

    def admit(self, request: Any, ticket: Any = None) -> Grant:
        if self.grant is None:
            raise TicketExpired("The ticket has ended.")
        return self.grant


class World:
    """A server's objects, and its connections; `parsed` counts the requests that were parsed."""

    def __init__(
        self,
        broker: MemoryBroker,
        limits: Limits,
        moderated: bool,
        certificate: Path | None,
    ) -> None:
        path = str(certificate) if certificate else None
        self._tls = load_tls(ServerConfig(tls_certificate=path))
        self.trusting = ssl.create_default_context(cafile=path) if path else None
        self.hub, self.presence = Hub(broker, limits), Presence(broker, limits, "node")
        self.access, self.moderation = Tickets(), Moderation(broker)
        self.traffic, self.taps = TrafficStats(), TapRegistry(limits)
        self.limits = limits
        self.parsed = 0
        services = Services(
            *(self.hub, self.presence, OriginPolicy(["chat"]), Admission(limits), limits),
            access=self.access,
            moderation=self.moderation if moderated else None,
        )
        exchanges: Any = {SHORT: ShortPolling, LONG: LongPolling}
        self.router = Router(services, exchanges, Application(), self.taps)

    def metered(self, connection: socket.socket) -> MeteredStream:
        if self._tls is None:
            return MeteredStream(connection, ADDRESS, self.traffic)
        secured = ssl_wrap_socket(
            connection, self._tls, server_side=True, do_handshake_on_connect=False
        )
        return MeteredTLSStream(secured, ADDRESS, self.traffic)

    async def say(self, text: str) -> None:
        body = json.dumps({"text": text}).encode()
        await self.hub.publish(Draft.parse(body, ROOM, self.limits, "post"))


async def waiting(world: World, count: int) -> None:
    async with asyncio.timeout(10):
        while world.hub.count()["waiting"] != count:
            await asyncio.sleep(0)


class Client:
    """One connection, which polls as `c1` from its last cursor on."""

    def __init__(
        self,
        world: World,
        stream: MeteredStream,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.stream, self._world = stream, world
        self._reader, self.writer = reader, writer
        self.cursor = "now"
        self.sent = self.received = 0
        self._buffer = b""

    def request(self, kind: str = SHORT, more: str = "", *fields: str) -> bytes:
        target = f"/rooms/{ROOM}/{kind}?client=c1&name=Ada&after={self.cursor}{more}"
        lines = [f"GET {target} HTTP/1.1", "Host: chat", "Origin: http://chat", *fields, "", ""]
        return "\r\n".join(lines).encode()

    async def send(self, data: bytes) -> None:
        self.sent += len(data)
        self.writer.write(data)

    async def response(self) -> tuple[int, str, Any]:
        """Return the status, the header and the JSON of the next response."""
        async with asyncio.timeout(10):
            while b"\r\n\r\n" not in self._buffer:
                await self._receive()
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
            length = int(fields["Content-Length"])
            while len(self._buffer) < length:
                await self._receive()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        is_json = "json" in fields["Content-Type"]
        return int(head.split()[1]), head.decode(), json.loads(body) if is_json else {}

    async def _receive(self) -> None:
        data = await self._reader.read(65_536)
        assert data, "the server has closed the connection"
        self.received += len(data)
        self._buffer += data

    async def ask(self, data: bytes) -> tuple[int, str, Any]:
        await self.send(data)
        return await self.response()

    async def error(self, data: bytes) -> str:
        """Return the code of the error that this request is refused with."""
        code: str = (await self.ask(data))[2]["error"]["code"]
        return code

    async def repeat(self, kind: str = SHORT, more: str = "", *fields: str) -> None:
        """Poll a hundred times, each time from the cursor of the response before."""
        for number in range(TIMES):
            await self._world.say(str(number))
            expected = [] if self.cursor == "now" else [str(number)]
            status, _, page = await self.ask(self.request(kind, more, *fields))
            assert status == 200
            assert [event["text"] for event in page["events"] if "text" in event] == expected
            self.cursor = page["cursor"]

    async def repeat_and_wait(self) -> None:
        """Repeat a long poll, and return when the last one waits."""
        await self.repeat(LONG)
        await self.send(self.request(LONG))
        await waiting(self._world, 1)

    def leave(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def connected(world: World, *, proxied: bool = False) -> AsyncIterator[Client]:
    ours, theirs = socket.socketpair()
    stream = world.metered(ours)
    stream.shared = proxied
    world.traffic.opened(stream)
    proxies = TrustedProxies([ip_network("10.0.0.0/8")])
    serving = asyncio.create_task(
        ServerConnection(stream, world.router, "http", proxies, world.limits).serve()
    )
    reader, writer = await asyncio.open_connection(
        sock=theirs,
        ssl=world.trusting,
        server_hostname="localhost" if world.trusting else None,
    )
    try:
        yield Client(world, stream, reader, writer)
    finally:
        stream.close()
        writer.transport.abort()
        await serving


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@pytest.fixture
def moderated() -> bool:
    """Whether there is a lecturer; then the rules of the room are read again every two seconds."""
    return False


@pytest.fixture(params=["plain", "tls"])
def certificate(request: pytest.FixtureRequest, servers: Servers) -> Path | None:
    """The certificate of the server, on whose connections everything holds as without TLS."""
    return servers.certificate if request.param == "tls" else None


@pytest.fixture
async def world(
    limits: Limits,
    moderated: bool,
    certificate: Path | None,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    world = World(MemoryBroker(limits), limits, moderated, certificate)
    parse = connection_module.parse_fast_path

    def counted(data: bytes) -> Any:
        world.parsed += 1
        return parse(data)

    monkeypatch.setattr(connection_module, "parse_fast_path", counted)
    await world.hub.start()
    yield world
    await world.presence.close()
    await world.moderation.close()
    await world.hub.close()


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    async with connected(world) as client:
        yield client


# --- it is not parsed, and counted all the same --------------------------------------------------


@pytest.mark.parametrize("kind", [SHORT, LONG])
async def test_a_repeated_poll_is_parsed_once_and_counted_each_time(
    world: World, client: Client, kind: str
) -> None:
    await client.repeat(kind)
    assert world.parsed == 1
    row = world.traffic.report("c1")[kind]
    assert row == world.traffic.report()[kind]
    assert (row["requests"], row["connections"]) == (TIMES, 1)
    assert (row["bytes_in"], row["bytes_out"]) == (client.sent, client.received)
    assert row["events"] == TIMES  # its own join and 99 messages; the first poll starts at now


async def test_a_repeated_long_poll_waits_for_news(world: World, client: Client) -> None:
    await client.repeat_and_wait()
    assert world.hub.readers() == {ROOM: {LONG: 1}}
    await world.say("news")
    _, _, page = await client.response()
    assert [event["text"] for event in page["events"]] == ["news"]
    assert world.parsed == 1


async def test_a_repeated_long_poll_ends_empty_when_its_time_is_up(
    world: World, client: Client
) -> None:
    await client.repeat(LONG, "&wait=0.01")
    _, _, page = await client.ask(client.request(LONG, "&wait=0.01"))
    assert (page["events"], world.parsed) == ([], 1)


async def test_a_client_that_leaves_while_it_waits_is_forgotten(
    world: World, client: Client
) -> None:
    await client.repeat_and_wait()
    client.leave()
    await world.say("news")  # finds out that nobody reads
    await waiting(world, 0)
    while world.traffic.streams:
        await asyncio.sleep(0)
    assert world.presence._tracked[ROOM, "c1"].ref_count == 0


async def test_a_connection_that_is_closed_while_it_waits_is_forgotten(
    world: World, client: Client
) -> None:
    await client.repeat_and_wait()
    client.stream.close()
    await waiting(world, 0)
    assert world.presence._tracked[ROOM, "c1"].ref_count == 0


async def test_a_client_that_has_ended_its_side_gets_the_response_that_it_waits_for(
    world: World, client: Client
) -> None:
    await client.repeat_and_wait()
    client.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
    while not client.stream.half_closed:
        await asyncio.sleep(0)
    await world.say("news")
    _, _, page = await client.response()
    assert [event["text"] for event in page["events"]] == ["news"]


async def test_requests_in_one_packet_are_answered_in_order(world: World, client: Client) -> None:
    await client.repeat()
    one, two = client.request(), client.request(LONG, "&wait=0.01")
    await client.send(one + two + one)
    found = [await client.response() for _ in range(3)]
    assert [(status, page["events"]) for status, _, page in found] == [(200, [])] * 3
    assert world.traffic.report()[LONG]["requests"] == 1


async def test_a_request_that_arrives_during_a_wait_is_answered_after_it(
    world: World, client: Client
) -> None:
    await client.repeat_and_wait()
    await client.send(client.request(SHORT, "&client=c2"))
    await world.say("news")
    assert len((await client.response())[2]["events"]) == 1
    assert (await client.response())[0] == 200
    assert world.traffic.report("c2")[SHORT]["requests"] == 1


# --- any byte that differs -----------------------------------------------------------------------


async def test_a_changed_byte_anywhere_is_answered_as_on_a_new_connection(world: World) -> None:
    async with connected(world) as client:
        await client.repeat()
        for position in range(0, len(client.request()) - 4):
            data = bytearray(client.request())
            data[position] = ord("~") if data[position] != ord("~") else ord("x")
            async with connected(world) as other:
                expected = await outcome(other, bytes(data))
            # A refused request may end the connection, so each has one that has repeated itself.
            async with connected(world) as repeated:
                repeated.cursor = client.cursor
                for _ in range(2):
                    await repeated.ask(repeated.request())
                assert await outcome(repeated, bytes(data)) == expected, (position, bytes(data))


async def outcome(client: Client, data: bytes) -> tuple[int, str | None]:
    status, _, body = await client.ask(data)
    return status, body["error"]["code"] if "error" in body else None


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("Host: chat", "Host: evil", "foreign_host"),
        ("Origin: http://chat", "Origin: http://evil", "foreign_origin"),
        ("Origin: http://chat", "Sec-Fetch-Site: cross-site", "foreign_origin"),
        (" HTTP/1.1", "&after=now%00 HTTP/1.1", "bad_cursor"),
        ("client=c1", "client=%20", "bad_client"),
        ("GET /", "PUT /", "bad_method"),
    ],
)
async def test_a_changed_request_is_refused(client: Client, old: str, new: str, code: str) -> None:
    await client.repeat()
    data = client.request().replace(old.encode(), new.encode())
    assert await client.error(data) == code


async def test_a_poll_with_a_body_is_parsed_each_time(world: World, client: Client) -> None:
    for _ in range(3):
        data = client.request(SHORT, "", "Content-Length: 2") + b"{}"
        assert (await client.ask(data))[0] == 200
    assert world.parsed == 3


# --- what changes while the request stays the same -----------------------------------------------


async def test_a_server_that_drains_ends_the_connection(world: World, client: Client) -> None:
    await client.repeat()
    world.hub.drain(1)
    status, head, _ = await client.ask(client.request())
    assert (status, "Connection: close" in head) == (200, True)


@pytest.mark.parametrize("waits", [False, True])
async def test_a_server_that_drains_lets_nobody_wait(
    world: World, client: Client, waits: bool
) -> None:
    await client.repeat(LONG)
    if waits:
        await client.send(client.request(LONG))
        await waiting(world, 1)
    world.hub.drain(1)
    if waits:
        status, head, page = await client.response()
        assert (status, page["events"]) == (200, [])
    else:
        await client.send(client.request(LONG))
        _, head, body = await client.response()
        assert body["error"]["code"] == "going_away"
    assert "Connection: close" in head


async def test_a_ticket_that_has_ended_is_refused(world: World, client: Client) -> None:
    await client.repeat()
    world.access.grant = None
    assert await client.error(client.request()) == "ticket_expired"


async def test_a_ticket_that_grants_less_is_asked_again(world: World, client: Client) -> None:
    await client.repeat()
    world.access.grant = replace(EVERYTHING, rooms=("other",))
    assert await client.error(client.request()) == "not_allowed"


async def test_a_wait_is_no_longer_than_the_ticket(world: World, client: Client) -> None:
    world.access.grant = replace(EVERYTHING, expires=0.0)
    await client.repeat(LONG)
    assert (await client.ask(client.request(LONG)))[2]["events"] == []
    assert world.parsed == 1
    assert math.isinf(EVERYTHING.expires)


@pytest.mark.parametrize("moderated", [True])
async def test_a_client_that_the_lecturer_removes_is_refused(world: World, client: Client) -> None:
    await client.repeat()
    await world.moderation.change(ROOM, {"removed c1": "1"})
    assert await client.error(client.request()) == "removed"


@pytest.mark.parametrize("moderated", [True])
async def test_a_repeated_poll_that_waits_ends_when_the_lecturer_removes_its_client(
    world: World, client: Client
) -> None:
    """It must not receive the next message, which may be about its removal."""
    await client.repeat_and_wait()
    await world.moderation.change(ROOM, {"removed c1": "1"})
    await world.say("he is gone")
    assert (await client.response())[2]["error"]["code"] == "removed"


@pytest.mark.parametrize("moderated", [True])
async def test_a_name_that_is_no_longer_approved_is_refused(world: World, client: Client) -> None:
    await client.repeat()
    await world.moderation.change(ROOM, {"approval": "1"})
    assert await client.error(client.request()) == "name_not_approved"


async def test_a_client_that_has_left_joins_again(world: World, client: Client) -> None:
    await client.repeat()
    await world.presence.leave(ROOM, "c1")
    _, _, page = await client.ask(client.request())
    assert [event["kind"] for event in page["events"]] == []
    assert [member.client for member in await world.presence.members(ROOM)] == ["c1"]


@pytest.mark.parametrize(
    "limits", [replace(LIMITS, joins_per_second_per_address=0.001, connections_per_address=1)]
)
async def test_a_client_that_joins_too_often_is_refused(world: World, client: Client) -> None:
    await client.repeat()
    world.presence._tracked.clear()  # as after its lease
    assert await client.error(client.request()) == "too_fast"


# --- behind a proxy, and traced ------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits", [replace(LIMITS, connections_per_address=1, connections=2, address_share=1)]
)
async def test_behind_a_proxy_each_request_counts_for_its_own_client(world: World) -> None:
    async with connected(world, proxied=True) as client:
        await client.repeat(SHORT, "", "X-Forwarded-For: 192.0.2.1")
        assert world.parsed == TIMES
        assert client.stream.address == "192.0.2.1"
        world.traffic.addresses["192.0.2.1"] += 1  # it has another connection
        data = client.request(SHORT, "", "X-Forwarded-For: 192.0.2.1")
        assert await client.error(data) == "busy"


async def test_a_traced_poll_is_copied_each_time(world: World, client: Client) -> None:
    frames: list[bytes] = []
    secret = "s" * 20
    await client.repeat()
    tap = world.taps.open(secret, "here")
    tap.add(TapSubscriber(lambda data: bool(frames.append(data)) or True))
    await client.repeat(SHORT, f"&trace={secret}")
    assert world.parsed == 1 + TIMES
    async with asyncio.timeout(10):
        while sum(frame.count(b'"direction": "up"') for frame in frames) < TIMES:
            await asyncio.sleep(0.01)
    await client.repeat()  # and then no more
    assert sum(frame.count(b'"direction": "up"') for frame in frames) == TIMES
