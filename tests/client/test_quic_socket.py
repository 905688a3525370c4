"""A session over its UDP socket: whom it trusts, how much it accepts, how it learns the end."""

import asyncio
import json

import pytest

from realtime.client.http import ByteCount, Closed
from realtime.client.quic import WINDOW_BYTES, SessionProtocol
from realtime.client.quic_socket import WebTransportSession
from realtime.core.events import Draft
from realtime.limits import Limits
from tests.ports import free_port
from tests.server.quic.serving import PATH, SECONDS, Listening, listening

# Of a stream of WebTransport: its type, and the number of its session.
_STREAM_HEAD = 3
OTHER_HASH = "A" * 43 + "="


async def test_a_certificate_is_trusted_by_its_hash_alone() -> None:
    async with listening() as running, asyncio.timeout(SECONDS):
        hashes = [OTHER_HASH, *running.listener.hashes()]
        session = await open_session(running, hashes)  # as while a certificate is replaced
        await session.close()
        with pytest.raises(Closed, match="certificate"):
            await open_session(running, [OTHER_HASH])


async def open_session(running: Listening, hashes: list[str]) -> WebTransportSession:
    protocol = SessionProtocol(f"localhost:{running.port}", PATH, {}, hashes)
    return await WebTransportSession.open(("127.0.0.1", running.port), protocol, ByteCount())


async def test_a_port_where_nobody_listens_is_the_end() -> None:
    protocol = SessionProtocol("x", "/", {}, [])
    with pytest.raises(OSError):  # noqa: PT011 - of any kind: the caller tries again
        async with asyncio.timeout(SECONDS):
            await WebTransportSession.open(("127.0.0.1", free_port()), protocol, ByteCount())


async def test_the_server_sends_no_more_than_a_window_that_nobody_has_read() -> None:
    async with listening(Limits(messages_per_second=0)) as running:
        session = await running.open()
        body, limits = json.dumps({"text": "x" * 4000}).encode(), running.services.limits
        for _ in range(50):
            await running.services.hub.publish(Draft.parse(body, "lobby", limits, "test"))
        async with asyncio.timeout(SECONDS):
            while len(session.protocol._unread) < WINDOW_BYTES - _STREAM_HEAD:
                await session.changed()
            assert len(session.protocol._unread) == WINDOW_BYTES - _STREAM_HEAD
            received = session.read()
            while received.count(b"\n") < 51:  # and the first, empty one
                await session.changed()
                received += session.read()


async def test_a_session_that_is_aborted_writes_no_more() -> None:
    async with listening() as running:
        session = await running.open()
        session.abort()
        with pytest.raises(Closed):
            session.write(b"{}\n")


async def test_a_session_that_ends_as_soon_as_it_opens_sends_no_pings() -> None:
    class EndedAtOnce(SessionProtocol):
        def receive_datagram(self, data: bytes, now: float) -> None:
            super().receive_datagram(data, now)
            if self.opened:
                self.lose()

    async with listening() as running:
        hashes = running.listener.hashes()
        protocol = EndedAtOnce(f"localhost:{running.port}", PATH, {}, hashes)
        address = "127.0.0.1", running.port
        session = await WebTransportSession.open(address, protocol, ByteCount())
        assert session.closed is not None
        assert session._pings is None


async def test_a_server_that_vanishes_is_noticed() -> None:
    async with listening(Limits(heartbeat_seconds=0.2)) as running:
        session = await running.open()
        for one in running.listener._sockets:
            asyncio.get_running_loop().remove_reader(one.fileno())
        async with asyncio.timeout(SECONDS):
            while session.closed is None:
                await session.changed()
