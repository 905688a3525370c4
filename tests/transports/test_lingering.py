"""A connection that we end reaches the client with our last message, and is never kept open."""

import asyncio
import socket
from collections.abc import Iterator

import pytest
from tornado.iostream import IOStream

from realtime.transports import lingering
from realtime.transports.lingering import close_lingering

SECONDS = 10.0
LAST = b"the reason"
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def connection() -> Iterator[Pair]:
    """The client's and the server's socket of one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    client.settimeout(SECONDS)
    accepted.setblocking(False)
    with client, accepted:
        yield client, accepted


def send_and_read(client: socket.socket) -> bytes:
    client.sendall(bytes(3_000_000))
    answer = client.recv(100)
    assert client.recv(100) == b""  # our FIN, not a reset
    client.close()
    return answer


async def test_a_client_that_is_still_sending_reads_our_last_message(connection: Pair) -> None:
    client, accepted = connection
    stream = IOStream(accepted)
    reading = asyncio.create_task(asyncio.to_thread(send_and_read, client))
    await stream.read_bytes(1)
    stream.write(LAST)
    await close_lingering(stream)
    assert stream.closed()
    assert await reading == LAST


async def test_a_client_that_never_closes_is_disconnected(
    connection: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.05)
    _, accepted = connection
    stream = IOStream(accepted)
    async with asyncio.timeout(SECONDS):
        await close_lingering(stream)
    assert stream.closed()


async def test_a_client_that_never_stops_sending_is_disconnected(
    connection: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "MAX_LINGER_BYTES", 100_000)
    monkeypatch.setattr(lingering, "LINGER_SECONDS", SECONDS)
    client, accepted = connection
    stream = IOStream(accepted)
    client.setblocking(False)
    client.send(bytes(1_000_000))  # what fits
    async with asyncio.timeout(SECONDS / 2):
        await close_lingering(stream)
    assert stream.closed()


async def test_a_connection_that_is_closed_already_is_no_error(connection: Pair) -> None:
    _, accepted = connection
    stream = IOStream(accepted)
    stream.close()
    await close_lingering(stream)
