"""A server that does not know a connection ends it, if the client has learned the token."""

import asyncio
import socket

from realtime.server.quic.stateless_reset import ResetTokens
from tests.cases import each
from tests.server.quic.serving import listening


def test_the_token_belongs_to_the_key_and_the_connection_id() -> None:
    tokens = ResetTokens(b"key")
    assert tokens.token(b"12345678") == ResetTokens(b"key").token(b"12345678")
    assert tokens.token(b"12345678") != tokens.token(b"87654321")
    assert tokens.token(b"12345678") != ResetTokens(b"other").token(b"12345678")


def test_a_token_has_the_length_of_the_standard() -> None:
    assert len(ResetTokens(b"key").token(b"12345678")) == 16


@each(("caused_by", "size"), [(21, None), (22, 21), (30, 29), (44, 43), (1200, 43)])
def test_a_reset_is_shorter_than_its_cause(caused_by: int, size: int | None) -> None:
    packet = ResetTokens(b"key").packet(b"12345678", caused_by)
    assert (packet and len(packet)) == size
    if packet:
        assert packet[0] >> 6 == 0b01  # a short header
        assert packet.endswith(ResetTokens(b"key").token(b"12345678"))


async def test_a_client_learns_at_its_next_packet_that_the_server_has_restarted() -> None:
    async with listening() as running:
        session = await running.open()
        running.listener._connections.clear()  # another process has none
        session._ping()
        await running.until(lambda: session.closed is not None)


async def test_a_server_at_another_port_does_not_tell_the_token_of_a_connection() -> None:
    """RFC 9000 §21.11: who sees its ID could else end the connection of somebody else."""
    async with listening() as running, listening() as other:
        session = await running.open()
        ids = (session.protocol._quic._peer_cid, *session.protocol._quic._peer_cid_available)
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.setblocking(False)
            one.connect(("127.0.0.1", other.port))
            for id in ids:
                one.send(b"\x40" + id.cid + bytes(40))
                assert not session.protocol._quic.is_reset(await loop.sock_recv(one, 100))


async def test_a_packet_of_another_kind_or_a_short_one_gets_no_answer() -> None:
    async with listening() as running:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.setblocking(False)
            one.connect(("127.0.0.1", running.port))
            # Packets are read in order, so the first answer is that to the last of them.
            for packet in (b"\x40" + bytes(20), b"\xc0" + bytes(100), b"\x40" + bytes(29)):
                one.send(packet)
            assert len(await loop.sock_recv(one, 100)) == 29
