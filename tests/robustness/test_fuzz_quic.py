"""Random bytes as QUIC packets, and on the streams of a valid connection.

Each ends at most its own connection.  Nothing reaches the log, and other sessions go on.
"""

import asyncio
import random
import socket

from realtime.client.http import ByteCount, get_json
from realtime.client.quic import SessionProtocol
from realtime.client.quic_socket import WebTransportSession
from realtime.client.webtransport import WebTransportClient
from tests.robustness.conftest import SharedServers
from tests.robustness.fuzz import new_seed
from tests.robustness.monitored_server import MonitoredServer
from tests.server.quic.test_listener import first_packet
from tests.transports.readers import SECONDS, say, take, texts

PACKETS, CONNECTIONS = 400, 40


def mutated(random_: random.Random, packet: bytes) -> bytes:
    changed = bytearray(packet)
    for _ in range(random_.choice([0, 1, 3, 50])):
        changed[random_.randrange(len(changed))] = random_.randrange(256)
    return bytes(changed[: random_.choice([len(changed), len(changed), random_.randrange(1200)])])


def odd_bytes(random_: random.Random) -> bytes:
    """Something like frames of HTTP/3: small types and lengths, and what follows them."""
    head = bytes(
        random_.choice([0, 1, 2, 3, 4, 5, 7, 13, 33, 0x40, 0x41, 0x54, 0xFF]) for _ in "ab"
    )
    return head + random_.randbytes(random_.choice([0, 1, 3, 20, 1000]))


async def attack(server: MonitoredServer, random_: random.Random) -> None:
    """Open a connection, perhaps a session, and send what breaks the protocol."""
    offer = (await get_json(server.url, "/lab"))["webtransport"]
    path = random_.choice(["/rooms/fuzz/webtransport", "/rooms//webtransport", "/", "/rooms/%ff"])
    try:
        protocol = SessionProtocol(
            random_.choice(["localhost", "evil.example", "[", ":", "a b"]),
            path,
            random_.choice([{}, {"origin": "null"}, {"cookie": "x" * 3000}, {"te": "gzip"}]),
            offer["hashes"],
        )
        session = await WebTransportSession.open(("127.0.0.1", server.port), protocol, ByteCount())
    except Exception:
        return
    quic = session.protocol._quic
    for _ in range(random_.randint(1, 6)):
        stream = random_.choice([0, 1, 2, 6, 10, quic.get_next_available_stream_id()])
        try:
            quic.send_stream_data(stream, odd_bytes(random_), random_.random() < 0.2)
            if random_.random() < 0.3:
                quic.send_datagram_frame(odd_bytes(random_))
            if random_.random() < 0.1:
                quic.reset_stream(stream, random_.randrange(1 << 30))
        except (ValueError, RuntimeError):
            continue
        session._transmit()
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    session.abort()


async def test_whatever_is_sent_others_go_on_and_nothing_is_logged(
    shared_servers: SharedServers, room: str
) -> None:
    seed = new_seed()
    random_ = random.Random(seed)
    server = shared_servers.get("--messages-per-second", "0")
    async with WebTransportClient(server.url, room) as neighbour:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
            attacker.connect(("127.0.0.1", server.port))
            for _ in range(PACKETS):
                attacker.send(mutated(random_, first_packet()))
                await asyncio.sleep(0)
        for _ in range(CONNECTIONS):
            async with asyncio.timeout(SECONDS):
                await attack(server, random_)
        await say(neighbour, "still here")
        assert texts(await take(neighbour, 1)) == ["still here"], f"FUZZ_SEED={seed}"
    server.check_log()
