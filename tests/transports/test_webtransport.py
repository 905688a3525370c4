"""WebTransport on the wire: lines in both directions, datagrams, and the end of a session."""

import asyncio
import json
import secrets

import pytest

from realtime.client import Closed, Refused, get_json, post, request
from realtime.client.webtransport import WebTransportClient
from realtime.core.events import Cursor, Event
from realtime.transports.webtransport import frame
from tests.cases import each
from tests.conftest import Servers
from tests.server.quic.serving import line_of, listening
from tests.server_process import Server
from tests.transports.readers import SECONDS, reader, say, say_in, take, take_datagrams, texts


def test_an_event_is_one_line() -> None:
    assert frame(Event(Cursor("e", 1), b'{"kind":"say"}')) == b'{"kind":"say"}\n'


async def test_the_first_line_is_empty_and_so_is_a_heartbeat(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--heartbeat-seconds", "0.2")
    async with WebTransportClient(server.url, room) as client:
        session = client._session
        assert session is not None
        data = b""
        async with asyncio.timeout(SECONDS):
            while len(data := data + session.read()) < 3:
                await session.changed()
        assert data.strip(b"\n") == b""


# --- datagrams -----------------------------------------------------------------------------------


async def test_with_datagrams_each_event_also_comes_as_one(server: Server, room: str) -> None:
    async with WebTransportClient(server.url, room, query={"datagrams": "1"}) as client:
        await say(client, "one", "two", "x" * 800, "y" * 1000)
        events = await take(client, 4)
        received = {json.loads(data)["id"]: data for data in await take_datagrams(client, 3)}
    # On this machine no packet is lost; what does not fit into one of 1200 bytes comes over the
    # stream alone.
    assert list(received) == [event["id"] for event in events[:3]]
    assert all(json.loads(received[event["id"]]) == event for event in events[:3])
    assert not any(data.endswith(b"\n") for data in received.values())


async def test_without_it_no_datagram_comes(server: Server, room: str) -> None:
    async with WebTransportClient(server.url, room) as client:
        await say(client, "one")
        assert texts(await take(client, 1)) == ["one"]
        assert client.datagrams == []


async def test_another_value_is_a_named_error(server: Server, room: str) -> None:
    with pytest.raises(Refused) as refused:
        await WebTransportClient(server.url, room, query={"datagrams": "yes"}).open()
    assert (refused.value.status, refused.value.code) == (400, "bad_datagrams")


# --- lines of the client -------------------------------------------------------------------------


@each(
    ("line", "code"),
    [
        (b"\xff\xfe", "bad_json"),
        (b'{"text":"\xff"}', "bad_json"),
        (b"hello", "bad_json"),
        (b'{"text":"' + b"x" * 200_000 + b'"}', "too_long"),
    ],
)
async def test_a_line_that_is_no_message_is_answered_and_the_next_one_is_read(
    server: Server, room: str, line: bytes, code: str
) -> None:
    async with WebTransportClient(server.url, room) as client:
        with pytest.raises(Refused) as refused:
            await client.send_body(line)
        assert refused.value.code == code
        await say(client, "next")
        assert texts(await take(client, 1)) == ["next"]


async def test_empty_lines_and_lines_in_pieces_are_no_errors() -> None:
    async with listening() as running:
        session = await running.open()
        for piece in (b"\n\n", b'{"te', b'xt":"in ', b'pieces"}\n{"text":"an', b'other"}\n'):
            session.write(piece)
            await asyncio.sleep(0)
        data = b""
        while data.count(b'"ack"') < 2 or data.count(b'"say"') < 2:
            data += await line_of(session)
        assert b"in pieces" in data
        assert b"another" in data


# --- the end -------------------------------------------------------------------------------------


async def test_a_removed_member_learns_the_code_of_the_contract(
    servers: Servers, room: str
) -> None:
    server = servers.get("memory", "--access", "class", "--key", "of-the-lecturer")
    async with WebTransportClient(server.url, room, client="bad", name="Bad") as bad:
        await take(bad, 1)
        path = f"/rooms/{room}/rules/removed/bad?key=of-the-lecturer"
        assert (await request(server.url, "PUT", path, b"")).status == 204
        with pytest.raises(Closed) as closed:
            await take(bad, 2)
    assert (closed.value.code, closed.value.reason) == (4403, "removed")


# --- bytes ---------------------------------------------------------------------------------------


async def test_the_bytes_of_a_client_are_those_that_crossed_its_socket(
    server: Server, room: str
) -> None:
    me = f"me-{secrets.token_hex(4)}"
    async with WebTransportClient(server.url, room, client=me) as client:
        await say(client, *"12345")
        await take(client, 5)
        async with asyncio.timeout(SECONDS):
            while True:  # until the last acknowledgement has arrived
                await asyncio.sleep(0.05)
                row = (await get_json(server.url, f"/wire?client={me}"))["transports"][
                    "webtransport"
                ]
                if (row["bytes_in"], row["bytes_out"]) == (client.bytes_out, client.bytes_in):
                    break
    assert (row["events"], row["requests"], row["connections"]) == (5, 1, 1)
    assert row["bytes_in"] > 2400  # with the padding of the handshake (RFC 9000 §14.1)


async def test_it_shares_the_room_with_all_others(server: Server, room: str) -> None:
    async with (
        reader(server, "webtransport", room) as client,
        reader(server, "websocket", room) as other,
    ):
        await say(client, "from here")
        await say_in(server, room, "from there")
        await post(server.url, room, text="posted")
        assert await take(client, 3) == await take(other, 3)
