"""What the tap shows of QUIC: sizes of packets, bytes of streams, datagrams, and no secret."""

import asyncio
import base64
import json
import secrets

from realtime.client.sansio import client_id
from realtime.client.webtransport import WebTransportClient
from realtime.server.quic.capture import Capture
from realtime.server.tap import Tap, TapSubscriber
from tests.robustness.frames import frames_in
from tests.server.test_tap import Record, subscribed
from tests.server_process import Server
from tests.transports.readers import SECONDS, take, take_datagrams


async def test_a_session_is_shown_from_its_first_packet_to_its_end(
    server: Server, room: str
) -> None:
    trace, hidden = secrets.token_hex(16), "of-ada-1815-and-nobody"
    query = {"trace": trace, "datagrams": "1"}
    records: list[Record] = []
    async with subscribed(server, trace) as subscriber, asyncio.timeout(SECONDS):
        options = {"secret": hidden, "query": query}
        async with WebTransportClient(server.url, room, **options) as client:
            await client.send("hello", secret=hidden)
            await take(client, 1)
            await take_datagrams(client, 1)
        while not records or not records[-1].get("closed"):
            records.append(json.loads(str(await subscriber.read_message())))

    def data(direction: str, **more: object) -> bytes:
        return b"".join(
            base64.b64decode(record["data"])
            for record in records
            if more.items() | {("direction", direction)} <= record.items() and "data" in record
        )

    def packets(direction: str) -> int:
        return sum(r["packet"] for r in records if "packet" in r and r["direction"] == direction)

    assert packets("up") == client.down.bytes_out
    # The client has not waited for the acknowledgement of its last packet.
    assert 0 <= packets("down") - client.down.bytes_in < 200
    assert {r["transport"] for r in records[:-1]} == {"webtransport"}
    request, answer = data("up", stream=0).decode(), data("down", stream=0)
    assert request.startswith(":method: CONNECT\r\n")
    assert f"secret={'*' * len(hidden)}" in request
    assert answer.startswith(b":status: 200\r\n")
    message = json.loads(data("up", stream=1))
    assert (message["text"], message["client"]) == ("hello", client_id(hidden))
    assert message["secret"] == "*" * len(hidden)
    first, *lines = data("down", stream=1).split(b"\n")
    assert first == b""
    kinds = sorted(json.loads(line)["kind"] for line in lines if line)
    assert kinds == ["ack", "say"]
    assert json.loads(data("down", datagram=True))["text"] == "hello"
    # The line and its datagram are in one packet: what loses one of them loses the other.
    at = next(n for n, record in enumerate(records) if record.get("datagram"))
    line, datagram, packet = records[at - 1 : at + 2]
    assert packet["packet"] > sum(len(base64.b64decode(r["data"])) for r in (line, datagram))
    assert hidden not in json.dumps(records)


async def test_nothing_is_kept_of_a_connection_that_nobody_traces() -> None:
    capture = Capture(1, "webtransport")
    for size in range(100):
        capture.show_packet("up", size)
    assert capture._early is not None
    assert len(capture._early) <= 32
    capture.start(None)
    capture.show_packet("up", 1)
    capture.show_data("down", b"x", 1)
    capture.close()
    assert capture._early is None


async def test_early_packets_have_the_time_at_which_they_came() -> None:
    shown: list[bytes] = []
    tap = Tap(100_000)
    tap.add(TapSubscriber(lambda frames: bool(shown.append(frames)) or True))
    capture = Capture(7, "webtransport")
    capture.show_packet("up", 1200)
    capture.show_packet("down", 1201)
    capture.start(tap)
    capture.show_packet("up", 40)
    async with asyncio.timeout(SECONDS):
        while not shown:
            await asyncio.sleep(0.01)
    records = [json.loads(frame.payload) for frame in frames_in(b"".join(shown))]
    assert [record["packet"] for record in records] == [1200, 1201, 40]
    times = [record["at"] for record in records]
    assert times == sorted(times)
