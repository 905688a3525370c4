"""A connection through one of our network emulators counts for its client, and for nobody else.

The server sees it come from 127.0.0.1, which a lecturer's browser and a trusted proxy use too.
Every address in 127.0.0.0/8 is this machine, so each test uses several of them as clients.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from realtime.client import request
from tests.conftest import Servers
from tests.server_process import Server

SECONDS = 10.0
ADA, BEN, TEACHER = "127.0.0.2", "127.0.0.3", "127.0.0.1"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def leased(server: Server) -> AsyncIterator[int]:
    """The port of an emulator."""
    lease = (await request(server.url, "POST", "/networks?network=none")).check(201).json()
    yield lease["port"]
    await request(server.url, "DELETE", f"/networks/{lease['id']}")


async def connect(port: int, address: str) -> Connection:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))


async def get(connection: Connection, path: str, *fields: str) -> int:
    return await send(connection, f"GET {path}", b"", *fields)


async def send(
    connection: Connection, line: str, body: bytes, *fields: str, version: str = "1.1"
) -> int:
    """Send a request, and return the status of the response; its body is not read."""
    reader, writer = connection
    lines = [
        f"{line} HTTP/{version}",
        "Host: localhost",
        *fields,
        f"Content-Length: {len(body)}",
        "",
        "",
    ]
    writer.write("\r\n".join(lines).encode() + body)
    async with asyncio.timeout(SECONDS):
        return int((await reader.readuntil(b"\r\n\r\n")).split()[1])


async def get_once(port: int, address: str, path: str) -> int:
    connection = await connect(port, address)
    try:
        return await get(connection, path)
    finally:
        connection[1].close()


@pytest.mark.parametrize("trusted", [(), ("--trust-proxy", "127.0.0.1")])
async def test_connections_through_an_emulator_count_for_their_client(
    servers: Servers, room: str, trusted: tuple[str, ...]
) -> None:
    server = servers.get("memory", "--networks", "2", "--connections-per-address", "4", *trusted)
    path = f"/rooms/{room}/sse"
    async with leased(server) as port:
        streams = [await connect(port, ADA) for _ in range(4)]
        for stream in streams:
            assert await get(stream, path) == 200
        assert await get_once(port, ADA, path) == 503
        assert await get_once(server.port, ADA, path) == 503
        assert await get_once(port, BEN, "/healthz") == 200
        others = [await connect(server.port, TEACHER) for _ in range(3)]
        for other in others:
            assert await get(other, "/healthz") == 200
        for _, writer in (*streams, *others):
            writer.close()


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_forged_address_is_not_believed_through_an_emulator(
    servers: Servers, room: str, version: str
) -> None:
    """The rate limit without a client id is that of the address."""
    server = servers.get(
        *("memory", "--networks", "3", "--trust-proxy", "127.0.0.1"),
        *("--messages-per-second", "0.001", "--message-burst", "1"),
    )
    # The fast path parses one of the versions, Tornado the other.
    ada = f"127.0.1.{version[-1]}1"
    line, body = f"POST /rooms/{room}/messages", b'{"text":"hello"}'
    async with leased(server) as port:
        statuses = []
        for number in range(3):
            connection = await connect(port, ada)
            forged = f"X-Forwarded-For: 198.51.100.{number}"
            statuses.append(await send(connection, line, body, forged, version=version))
            connection[1].close()
        assert statuses == [201, 429, 429]
        direct = await connect(server.port, TEACHER)  # a trusted proxy
        named = f"X-Forwarded-For: 198.51.100.{version[-1]}9"
        assert await send(direct, line, body, named) == 201
        direct[1].close()


async def test_a_lease_belongs_to_the_address_that_requested_it(servers: Servers) -> None:
    server = servers.get("memory", "--networks", "4", "--networks-per-address", "1")

    async def lease(address: str) -> tuple[int, dict[str, object]]:
        reader, writer = await connect(server.port, address)
        writer.write(b"POST /networks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(SECONDS):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return int(head.split()[1]), json.loads(body)

    leases = []
    for address in (ADA, BEN):
        status, found = await lease(address)
        assert status == 201
        leases.append(found["id"])
        status, found = await lease(address)
        assert (status, found["error"]["code"]) == (503, "busy")  # type: ignore[index]
    for id in leases:
        await request(server.url, "DELETE", f"/networks/{id}")


async def test_connections_through_the_emulators_are_limited(servers: Servers) -> None:
    limits = ("--network-connections", "12", "--network-connections-per-emulator", "6")
    server = servers.get("memory", "--networks", "4", *limits)
    async with leased(server) as one, leased(server) as other:

        async def open_until_refused(port: int, address: str) -> list[Connection]:
            opened: list[Connection] = []
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while len(opened) < 20:
                    connection = await connect(port, address)
                    assert await get(connection, "/healthz") == 200
                    opened.append(connection)
            return opened

        mine = await open_until_refused(one, ADA)
        assert len(mine) == 6  # of one emulator
        mine += await open_until_refused(other, ADA)
        assert len(mine) == 9  # three quarters of all: of one address
        yours = await open_until_refused(other, BEN)
        assert len(yours) == 3
        # Directly, everybody is served.
        assert await get_once(server.port, ADA, "/healthz") == 200
        for _, writer in (*mine, *yours):
            writer.close()
