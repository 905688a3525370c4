"""One connection and its session: streams, capsules, time limits, memory, a client that moves."""

import asyncio
import json
import socket
from typing import Any

import pytest
from aioquic.quic.events import QuicEvent, StopSendingReceived, StreamReset

from realtime.client.http import ByteCount, Refused
from realtime.client.quic import WINDOW_BYTES, SessionProtocol
from realtime.client.quic_socket import WebTransportSession
from realtime.core.events import Draft
from realtime.limits import Limits
from realtime.server.quic.connection import _MAX_REFUSED_STREAMS
from tests.cases import each
from tests.server.quic.serving import PATH, SECONDS, Listening, line_of, listening


class WatchingProtocol(SessionProtocol):
    """A session that remembers its events."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: list[QuicEvent] = []

    def _handle_event(self, event: QuicEvent) -> None:
        self.seen.append(event)
        super()._handle_event(event)


class SilentProtocol(WatchingProtocol):
    """A client that sends no request."""

    def _send_request(self) -> None:
        pass


class Watching(WebTransportSession):
    """A client that sends what no page could."""

    protocol: WatchingProtocol

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.protocol._quic.send_stream_data(stream, data, end)
        self._transmit()

    async def until_refused(self, *streams: int) -> None:
        async with asyncio.timeout(SECONDS):
            while not {*streams} <= {
                event.stream_id
                for event in self.protocol.seen
                if isinstance(event, StopSendingReceived | StreamReset)
            }:
                await self.changed()

    async def until_closed(self) -> None:
        async with asyncio.timeout(SECONDS):
            while self.closed is None:
                await self.changed()


async def watching(running: Listening, path: str = PATH) -> Watching:
    hashes = running.listener.hashes()
    protocol = WatchingProtocol(f"localhost:{running.port}", path, {}, hashes)
    session = await Watching.open(("127.0.0.1", running.port), protocol, ByteCount())
    running.clients.append(session)
    return session


def message(text: str) -> bytes:
    return json.dumps({"text": text}).encode() + b"\n"


async def say(running: Listening, text: str) -> None:
    draft = Draft.parse(
        json.dumps({"text": text}).encode(), "lobby", running.services.limits, "test"
    )
    await running.services.hub.publish(draft)


# --- streams of the client -----------------------------------------------------------------------


async def test_streams_that_the_client_opens_are_refused_and_the_session_goes_on() -> None:
    async with listening() as running:
        session = await watching(running)
        assert session.protocol._http is not None
        bidirectional = session.protocol._http.create_webtransport_stream(0)
        session.send(bidirectional, b"x" * 1000)
        unidirectional = session.protocol._http.create_webtransport_stream(
            0, is_unidirectional=True
        )
        session.send(unidirectional, b"x" * 1000)
        await session.until_refused(bidirectional, unidirectional)
        session.write(message("hello"))
        await until_received(session, b'"ack"')


async def test_a_second_session_of_a_connection_is_refused() -> None:
    async with listening() as running:
        session = await watching(running)
        first = session.protocol._request_id
        session.protocol._send_request()
        session._transmit()
        second, session.protocol._request_id = session.protocol._request_id, first
        assert second is not None
        await session.until_refused(second)
        assert session.closed is None


async def test_a_client_that_opens_one_stream_after_the_other_is_disconnected() -> None:
    async with listening() as running:
        session = await watching(running)
        assert session.protocol._http is not None
        async with asyncio.timeout(SECONDS):
            for _ in range(_MAX_REFUSED_STREAMS):
                stream = session.protocol._http.create_webtransport_stream(0)
                session.send(stream, b"x", end=True)
                await session.until_refused(stream)
        assert session.closed is None
        session.send(session.protocol._http.create_webtransport_stream(0), b"x", end=True)
        await session.until_closed()


# --- the request ---------------------------------------------------------------------------------


async def test_another_request_than_one_for_a_session_is_a_named_error() -> None:
    async with listening() as running:
        with pytest.raises(Refused) as refused:
            await watching(running, "/healthz")
        assert (refused.value.status, refused.value.code) == (404, "not_found")


async def test_a_connection_without_a_request_is_closed() -> None:
    async with listening(Limits(request_seconds=0.2)) as running:
        loop, address = asyncio.get_running_loop(), ("127.0.0.1", running.port)
        protocol = SilentProtocol("localhost", PATH, {}, running.listener.hashes())
        _, client = await loop.create_datagram_endpoint(
            lambda: Watching(protocol, ByteCount()), remote_addr=address
        )
        protocol.connect(address, loop.time())
        client._transmit()
        await client.until_closed()
        await running.until(lambda: not running.traffic.streams)
        assert not running.listener._starting


# --- the end -------------------------------------------------------------------------------------


@each("how", ["close", "abort", "reset", "stop", "end of the request", "end of the stream"])
async def test_however_a_client_ends_its_session_nothing_is_left(how: str) -> None:
    async with listening(Limits(grace_seconds=0.05)) as running:
        session = await watching(running, f"{PATH}&client=me&name=Me")
        await line_of(session)  # its own join
        assert running.services.presence.count_streams("me") == 1
        match how:
            case "close":
                await session.close()
            case "abort":
                session.abort()
            case "reset":
                session.protocol._quic.reset_stream(0, 1)
            case "stop":
                session.protocol._quic.stop_stream(1, 1)
            case "end of the request":
                session.protocol._quic.send_stream_data(0, b"", end_stream=True)
            case _:
                session.send(1, b"", end=True)
        session._transmit()
        await running.until(lambda: not running.traffic.streams)
        assert running.services.presence.count_streams("me") == 0
        assert not running.listener._connections
        assert not running.listener._sessions


async def test_a_capsule_that_is_malformed_ends_the_connection() -> None:
    async with listening() as running:
        session = await watching(running)
        assert session.protocol._http is not None
        session.protocol._http.send_data(0, b"\x68\x43\x00", end_stream=False)
        session._transmit()
        await session.until_closed()


# --- slow clients --------------------------------------------------------------------------------


async def test_of_what_a_reader_that_stops_has_not_received_little_is_kept() -> None:
    """The next events wait in the log of the room, by its cursor."""
    async with listening(Limits(messages_per_second=0)) as running:
        stopped = await watching(running)
        (connection,) = running.listener._sessions
        quic, stream = connection._quic, connection._stream_id
        assert stream is not None
        for number in range(80):
            await say(running, f"{number} {'x' * 4000}")
        await running.until(lambda: quic.acknowledged(stream) == WINDOW_BYTES)
        await running.until(lambda: connection._awaiting_drain)
        held = quic.unacknowledged(stream)
        assert held <= 2 * running.services.limits.push_bytes + 5000
        assert connection._bytes_out < WINDOW_BYTES + held + 50_000
        received = b""
        async with asyncio.timeout(SECONDS):
            while (received := received + stopped.read()).count(b"\n") < 81:  # one is empty
                await stopped.changed()
        texts = [json.loads(line)["text"].split()[0] for line in received.split(b"\n") if line]
        assert texts == [str(number) for number in range(80)]


async def test_a_reader_that_accepts_nothing_in_time_is_closed() -> None:
    limits = Limits(messages_per_second=0, write_deadline_seconds=0.3)
    async with listening(limits) as running:
        session = await watching(running)
        for _ in range(100):
            await say(running, "x" * 4000)
        await session.until_closed()
        await running.until(lambda: not running.traffic.streams)


async def test_a_client_that_does_not_read_its_acknowledgements_is_not_read_either() -> None:
    async with listening(Limits(messages_per_second=0)) as running:
        session = await watching(running)
        for _ in range(4000):
            session.send(1, b"{}\n" * 100)
        await running.until(
            lambda: (
                running.listener._sessions
                and all(one._awaiting_drain for one in running.listener._sessions)
            )
        )
        (connection,) = running.listener._sessions
        assert len(connection._inbox) <= 32_768


async def test_replies_of_one_turn_of_the_loop_share_their_packets() -> None:
    async with listening() as running:
        session = await watching(running)
        (connection,) = running.listener._sessions
        await running.until(lambda: not connection._quic.unacknowledged(1))
        before = session._count.bytes_in
        await asyncio.gather(*(connection.send(b"x\n") for _ in range(20)))
        received = b""
        async with asyncio.timeout(SECONDS):
            while (received := received + session.read()).count(b"x") < 20:
                await session.changed()
        assert session._count.bytes_in - before < 40 + 2 * 60  # packets of one byte have 30


async def test_who_sends_much_at_once_is_read_a_little_at_a_time() -> None:
    async with listening() as running:
        await watching(running)
        (connection,) = running.listener._sessions
        connection._inbox += bytes(3000)
        assert [len(await connection.read()) for _ in range(3)] == [1024, 1024, 952]


# --- a client that moves -------------------------------------------------------------------------


async def test_a_client_that_moves_counts_for_its_new_address() -> None:
    """As a phone that leaves a wireless network: its ports and addresses change."""
    async with listening() as running:
        session = await watching(running)
        assert running.traffic.addresses == {"127.0.0.1": 1}
        await move(session, running, "127.0.0.2")
        session.write(message("moved"))
        await until_received(session, b"moved")
        assert running.traffic.addresses == {"127.0.0.2": 1}


async def test_a_client_that_moves_to_a_network_emulator_counts_for_its_own_address() -> None:
    """Else it would count for this machine, whose address the emulator sends from."""
    emulated: dict[tuple[str, int], str] = {}
    async with listening(emulated=emulated) as running:
        session = await watching(running)
        connect = session.connection_made

        def emulate(transport: asyncio.BaseTransport) -> None:
            emulated[transport.get_extra_info("sockname")[:2]] = "192.0.2.7"
            connect(transport)

        session.connection_made = emulate  # type: ignore[method-assign]
        await move(session, running, "127.0.0.2")
        session.write(message("moved"))
        await until_received(session, b"moved")
        assert running.traffic.addresses == {"192.0.2.7": 1}


async def test_a_client_cannot_move_to_an_address_that_has_too_many() -> None:
    async with listening(Limits(connections_per_address=1)) as running:
        await running.open(source="127.0.0.2")
        session = await watching(running)
        await move(session, running, "127.0.0.2")
        session.write(message("moved"))
        await session.until_closed()
        assert session.closed is not None
        assert (session.closed.code, session.closed.reason) == (4503, "busy")


async def test_a_client_cannot_count_for_an_address_of_somebody_else() -> None:
    """It can send packets from there, but receives nothing (RFC 9000 §9.3.1)."""
    async with listening() as running:
        session = await watching(running)
        (connection,) = running.listener._sessions
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.2", 0))
            session.protocol._quic.send_stream_data(1, message("moved"))
            packets = session.protocol.datagrams_to_send(asyncio.get_running_loop().time())
            session._transport.abort()  # nothing more comes from its own address
            for packet in packets:
                other.sendto(packet, ("127.0.0.1", running.port))
            quic = connection._quic
            await running.until(lambda: (quic.get_peer_address() or "?")[0] == "127.0.0.2")
            assert running.traffic.addresses == {"127.0.0.1": 1}


async def until_received(session: WebTransportSession, text: bytes) -> None:
    """Read until the stream has brought `text`, in as many packets as that takes."""
    received = b""
    async with asyncio.timeout(SECONDS):
        while text not in (received := received + session.read()):
            await session.changed()


async def move(session: Watching, running: Listening, host: str) -> None:
    """Let the session continue from another address."""
    old = session._transport
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(
        lambda: session, remote_addr=("127.0.0.1", running.port), local_addr=(host, 0)
    )
    old.close()
