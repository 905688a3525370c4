"""Who may start a QUIC connection: floods of handshakes, false addresses, packets of others."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import pytest
from aioquic.buffer import Buffer
from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType, pull_quic_header

from realtime.client.http import Closed, Refused
from realtime.limits import Limits
from realtime.server.quic.certificate import Certificates
from realtime.server.quic.listener import _MAX_WASTED
from tests.cases import each
from tests.server.quic.serving import SECONDS, Listening, line_of, listening

# A packet of a version that nobody knows: the answer shows that all before it were handled.
UNKNOWN_VERSION = b"\xc0\x1a\x2a\x3a\x4a\x08" + bytes(8) + b"\x08" + bytes(8)
MARKER = UNKNOWN_VERSION + bytes(1200 - len(UNKNOWN_VERSION))


@contextmanager
def client_socket(running: Listening, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((host, 0))
        client.connect(("127.0.0.1", running.port))
        client.setblocking(False)
        yield client


def first_packet() -> bytes:
    """The Initial packet of a new client, which then sends nothing more."""
    client = QuicConnection(configuration=QuicConfiguration(alpn_protocols=H3_ALPN))
    client.connect(("127.0.0.1", 1), now=0.0)
    ((packet, _),) = client.datagrams_to_send(now=0.0)
    return packet


async def answers(client: socket.socket, *packets: bytes) -> list[bytes]:
    """Send packets, and return what came back before the answer to the marker."""
    loop, received = asyncio.get_running_loop(), []
    for packet in (*packets, MARKER):
        client.send(packet)
    async with asyncio.timeout(SECONDS):
        while not received or not is_offer(received[-1]):
            received.append(await loop.sock_recv(client, 65_536))
    return received[:-1]


def kind(packet: bytes) -> QuicPacketType:
    return pull_quic_header(Buffer(data=packet), host_cid_length=8).packet_type


def is_offer(packet: bytes) -> bool:
    return kind(packet) == QuicPacketType.VERSION_NEGOTIATION


async def test_a_client_that_prefers_localhost_finds_it_at_both_addresses() -> None:
    async with listening() as running:
        for host in ("127.0.0.1", "::1"):
            session = await running.open(host=host)
            await session.close()


async def test_an_unknown_version_is_answered_by_those_that_we_know() -> None:
    async with listening() as running:
        with client_socket(running) as client:
            client.send(MARKER)
            packet = await asyncio.get_running_loop().sock_recv(client, 65_536)
    header = pull_quic_header(Buffer(data=packet))
    assert (header.packet_type, header.version) == (QuicPacketType.VERSION_NEGOTIATION, 0)
    assert 1 in header.supported_versions
    assert len(packet) < 100


@each(
    "packet",
    [
        b"",
        b"\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        MARKER[:1199],  # RFC 9000 §14.1: shorter than a client may start with
        first_packet()[:1199],
        b"\x40" + bytes(20),  # a short header with an ID of nobody, too short for a reset
        b"\xc0\x00\x00\x00\x00\x08" + bytes(1300),  # an offer of versions, to be answered by none
        b"\xc3\x00\x00\x00\x01\x02ab\x00" + bytes(1300),  # RFC 9000 §7.2: an ID that is too short
        b"\xff" * 1200,
    ],
)
async def test_what_starts_no_connection_is_not_answered(packet: bytes) -> None:
    async with listening() as running:
        with client_socket(running) as client:
            assert await answers(client, packet) == []
            assert not running.traffic.streams


async def test_the_answer_to_one_packet_is_at_most_three_times_as_long() -> None:
    """RFC 9000 §8.1: the packet may have the address of a victim."""
    async with listening() as running:
        with client_socket(running) as client:
            packet = first_packet()
            received = await answers(client, packet)
    assert received
    assert sum(map(len, received)) <= 3 * len(packet)


async def test_above_half_of_the_handshakes_a_client_must_prove_its_address() -> None:
    async with listening(Limits(handshakes=4, handshakes_per_address=4)) as running:
        with client_socket(running) as client, client_socket(running) as other:
            for _ in range(2):
                assert kind((await answers(client, first_packet()))[0]) == QuicPacketType.INITIAL
            (retry,) = await answers(other, first_packet())
            assert kind(retry) == QuicPacketType.RETRY
            assert len(running.traffic.streams) == 2  # of the third nothing is kept
            session = await running.open()  # which follows the Retry
            await session.close()


async def test_a_token_of_another_address_is_of_no_use() -> None:
    async with listening(Limits(handshakes=2, handshakes_per_address=2)) as running:
        with client_socket(running) as client, client_socket(running) as thief:
            with client_socket(running) as first:
                await answers(first, first_packet())
            packet = await proven_packet(running, client)
            assert await answers(thief, packet) == []
            assert kind((await answers(client, packet))[0]) == QuicPacketType.INITIAL


async def proven_packet(running: Listening, client: socket.socket) -> bytes:
    """The first packet of a client that has been asked to prove its address, and does."""
    server = ("127.0.0.1", running.port)
    quic = QuicConnection(configuration=QuicConfiguration(alpn_protocols=H3_ALPN))
    quic.connect(server, now=0.0)
    ((packet, _),) = quic.datagrams_to_send(now=0.0)
    (retry,) = await answers(client, packet)
    assert kind(retry) == QuicPacketType.RETRY
    quic.receive_datagram(retry, server, now=0.1)
    ((packet, _),) = quic.datagrams_to_send(now=0.1)
    return packet


async def test_an_address_has_few_handshakes_under_way() -> None:
    async with listening(Limits(handshakes_per_address=4)) as running:
        with ExitStack() as stack:
            # One socket for each: what is sent again to one is no answer to another.
            clients = [stack.enter_context(client_socket(running)) for _ in range(6)]
            for client in clients[:2]:
                assert kind((await answers(client, first_packet()))[0]) == QuicPacketType.INITIAL
            proven = [await proven_packet(running, client) for client in clients[2:5]]
            for client, packet in zip(clients[2:4], proven[:2], strict=True):
                assert kind((await answers(client, packet))[0]) == QuicPacketType.INITIAL
            assert await answers(clients[4], proven[2]) == []
            assert await answers(clients[5], first_packet()) == []
            other = stack.enter_context(client_socket(running, "127.0.0.2"))
            assert kind((await answers(other, first_packet()))[0]) == QuicPacketType.INITIAL


async def test_false_addresses_do_not_keep_out_who_has_the_address() -> None:
    """Anybody can send a first packet with the address of a class, and never answers for it."""
    async with listening(Limits(handshakes_per_address=4)) as running:
        with client_socket(running) as attacker:
            for _ in range(20):
                await answers(attacker, first_packet())
        assert len(running.listener._starting) == 2
        session = await running.open()
        await session.close()


def broken_packet() -> bytes:
    packet = bytearray(first_packet())
    packet[100] ^= 1
    return bytes(packet)


async def test_while_many_cannot_be_decrypted_a_client_must_prove_its_address() -> None:
    async with listening() as running:
        with client_socket(running) as client:
            received: list[bytes] = []
            async with asyncio.timeout(SECONDS):
                while not received:  # a second can end in between
                    received = await answers(client, *[broken_packet()] * (_MAX_WASTED + 1))
            assert {*map(kind, received)} == {QuicPacketType.RETRY}
            await running.until(lambda: not running.listener._wasted)  # in the next second
            assert kind((await answers(client, first_packet()))[0]) == QuicPacketType.INITIAL


async def test_of_a_first_packet_that_cannot_be_decrypted_nothing_is_kept() -> None:
    async with listening() as running:
        with client_socket(running) as client:
            assert await answers(client, broken_packet()) == []
            assert not running.listener._sessions
            assert not running.listener._starting
            assert not running.listener._connections
            assert not running.traffic.streams


async def test_a_handshake_that_stops_ends_after_the_time_for_a_request() -> None:
    async with listening(Limits(request_seconds=0.2)) as running:
        with client_socket(running) as client:
            await answers(client, first_packet())
            assert len(running.traffic.streams) == 1
            await running.until(lambda: not running.traffic.streams)
            assert not running.listener._connections
            assert await answers(client, first_packet())  # its place is free again


async def test_a_connection_above_the_limit_of_its_address_learns_why() -> None:
    async with listening(Limits(connections_per_address=2)) as running:
        for _ in range(2):
            await running.open()
        with pytest.raises(Refused) as refused:
            await running.open()
        assert (refused.value.status, refused.value.code) == (503, "busy")
        assert len(running.traffic.streams) == 2
        other = await running.open(source="127.0.0.2")
        await other.close()


async def test_when_the_server_stops_every_session_learns_it() -> None:
    async with listening() as running:
        session = await running.open()
        running.services.hub.drain(0)
        await running.stop()
        with pytest.raises(Closed) as closed:
            await line_of(session)
    assert (closed.value.code, closed.value.reason) == (1012, "going_away")
    assert not running.traffic.streams


async def test_a_new_certificate_serves_new_connections() -> None:
    async with listening() as running:
        old = await running.open()
        before = running.listener.hashes()
        running.listener._certificates = Certificates(datetime.now(UTC))
        new = await running.open()
        assert running.listener.hashes() != before
        for session in (old, new):
            assert session.closed is None
