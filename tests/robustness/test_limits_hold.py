"""Every limit holds exactly: one more is rejected by name, and when one closes another can open.

Every count must also go down, however a connection ends; otherwise connections of the past would
exhaust the limit.
"""

import asyncio
import json
import secrets
from collections import Counter

import pytest

from realtime.client import CLIENTS, Client, Refused, get_json, request
from tests.conftest import Servers
from tests.robustness.conftest import SharedServers
from tests.robustness.frames import TEXT, Peer, frame, frames_in
from tests.robustness.http_client import abort, check, check_all, get, send_and_reset
from tests.robustness.monitored_server import MonitoredServer
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import OURS, reader, say_in

# Above every delay of the server; only a failure reaches it.
SECONDS = 10.0
STREAMS = [transport for transport in OURS if not transport.endswith("polling")]


async def read_all(data: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(SECONDS):
        return await data.read()


async def wait_until_accepted(server: MonitoredServer, path: str) -> None:
    """Send requests on new connections until one is accepted: a close takes a moment to arrive."""
    async with asyncio.timeout(SECONDS):
        while (await request(server.url, "GET", path)).status == 503:
            await asyncio.sleep(0.01)


async def rejection(client: Client) -> Refused:
    """Open a reader, which must be rejected; return the error."""
    try:
        with pytest.raises(Refused) as refused:
            await client.open()
    finally:
        client.abort()
    return refused.value


async def open_when_accepted(client: Client) -> None:
    """Open a reader as soon as it is accepted."""
    while True:
        try:
            return await client.open()
        except Refused:
            client.abort()
            await asyncio.sleep(0.01)


# --- connections ---------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["--connections", "--connections-per-address"])
async def test_one_connection_too_many_is_rejected_with_a_time_to_retry(
    limit: str, room: str
) -> None:
    with MonitoredServer("--hub", "memory", limit, "3") as server:
        async with Raw(server), Raw(server), Raw(server):
            answer = await request(server.url, "GET", "/healthz")
            check(answer.head, answer.body)
            assert (answer.status, answer.json()["error"]["code"]) == (503, "busy")
            assert answer.head.fields["connection"] == "close"
            assert int(answer.head.fields["retry-after"]) >= 1


@pytest.mark.parametrize("limit", ["--connections", "--connections-per-address"])
@pytest.mark.parametrize("transport", STREAMS)
async def test_when_one_reader_closes_the_next_is_accepted(
    shared_servers: SharedServers, limit: str, transport: str, room: str
) -> None:
    server = shared_servers.get(limit, "2")
    first, second = (reader(server, transport, room) for _ in range(2))
    async with asyncio.timeout(SECONDS):
        for client in (first, second):
            await open_when_accepted(client)  # those of the test before may still be open
    error = await rejection(reader(server, transport, room))
    assert (error.status, error.code) == (503, "busy")
    first.abort()
    await wait_until_accepted(server, "/healthz")
    second.abort()


async def test_closed_connections_are_not_counted_however_they_closed(room: str) -> None:
    """Ten times the limit, closed in every way; then as many as the limit can be open again."""
    limit = 20
    options = ("--connections", str(limit), "--address-share", "1000")
    with MonitoredServer("--hub", "memory", *options) as server:
        for number in range(10 * limit):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            path = f"/rooms/{room}/{OURS[number % 6]}"
            writer.write(
                [b"", b"GET", get(path), get("/healthz") + b"GET /", b"\0\r\n\r\n"][number % 5]
            )
            if number % 2:
                abort(writer)
            else:
                writer.close()
            if number % 10 == 9:
                await wait_until_accepted(server, "/healthz")
        await wait_until_accepted(server, "/healthz")
        clients = [reader(server, STREAMS[n % len(STREAMS)], room) for n in range(limit - 1)]
        async with asyncio.timeout(SECONDS):
            for client in clients:
                await open_when_accepted(client)
        for client in clients:
            client.abort()


async def test_rejected_connections_do_not_block_others(room: str) -> None:
    with MonitoredServer("--hub", "memory", "--connections", "2") as server:
        inside = reader(server, "sse", room)
        await inside.open()
        before = server.open_files()
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(50)]
        for data, writer in silent[1:]:  # one of them was accepted
            assert not await read_all(data)  # a rejected one that sends nothing is closed
            abort(writer)
        abort(silent[0][1])
        await wait_until_accepted(server, "/healthz")
        async with asyncio.timeout(SECONDS):
            while server.open_files() > before:
                await asyncio.sleep(0.01)
        inside.abort()


# --- shares --------------------------------------------------------------------------------------

# Every address in 127.0.0.0/8 is this machine.
GREEDY, OTHER = "127.0.0.2", "127.0.0.3"
SHARED = ("--connections", "40", "--connections-per-address", "100")


async def status_from(server: Server, address: str, path: str, method: str = "GET") -> int:
    data, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(address, 0))
    try:
        fields = "Host: localhost\r\nContent-Length: 0\r\nConnection: close"
        writer.write(f"{method} {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode())
        async with asyncio.timeout(SECONDS):
            return int((await data.readuntil(b"\r\n")).split()[1])
    finally:
        writer.close()


async def test_silent_connections_of_one_address_leave_some_for_others(servers: Servers) -> None:
    server = servers.get("memory", *SHARED)
    silent = [
        await asyncio.open_connection("127.0.0.1", server.port, local_addr=(GREEDY, 0))
        for _ in range(40)
    ]
    assert await status_from(server, GREEDY, "/healthz") == 503
    for _ in range(5):
        assert await status_from(server, OTHER, "/healthz") == 200
    for _, writer in silent:
        abort(writer)


@pytest.mark.parametrize("library", ["sockjs", "socketio"])
async def test_sessions_of_one_address_leave_some_for_others(
    servers: Servers, room: str, library: str
) -> None:
    server = servers.get("memory", *SHARED)

    async def open_session(address: str) -> int:
        if library == "socketio":
            return await status_from(server, address, f"/socket.io/?EIO=4&roomid={room}")
        path = f"/sockjs/000/{secrets.token_hex(4)}/xhr"
        return await status_from(server, address, path, "POST")

    async with asyncio.timeout(SECONDS):
        while await status_from(server, GREEDY, "/healthz") != 200:  # of the test before
            await asyncio.sleep(0.01)
    statuses = [await open_session(GREEDY) for _ in range(35)]
    assert statuses == [200] * 30 + [503] * 5
    assert await open_session(OTHER) == 200


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
WEBSOCKETS = (
    "/sockjs/000/{id}/websocket",
    "/socket.io/?EIO=4&transport=websocket&roomid={room}&client={id}&name=Ada",
    "/rooms/{room}/websocket?client={id}&name=Ada",
    "/wire/{id}{id}{id}",
)


async def test_a_session_that_is_reset_with_its_handshake_leaves_nothing(room: str) -> None:
    limits = ("--connections-per-address", "8", "--taps-per-address", "8", "--grace-seconds", "0")
    with Server("--hub", "memory", *limits, "--heartbeat-seconds", "0.2") as server:
        for _ in range(20):
            path = f"/socket.io/?EIO=4&transport=polling&roomid={room}&client=bob&name=Bob"
            send_and_reset(server.port, get(path, "Host: localhost"))
        for path in WEBSOCKETS:
            for _ in range(20):
                path_of_one = path.format(id=secrets.token_hex(8), room=room)
                send_and_reset(server.port, get(path_of_one, "Host: localhost", *UPGRADE))
            async with asyncio.timeout(SECONDS):
                while True:
                    async with Raw(server) as raw:
                        raw.ask(path.format(id=secrets.token_hex(8), room=room), *UPGRADE)
                        if (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 "):
                            break
        async with asyncio.timeout(SECONDS):
            while (await get_json(server.url, f"/rooms/{room}/members"))["members"]:
                await asyncio.sleep(0.01)


# --- rooms ---------------------------------------------------------------------------------------


async def test_one_room_too_many_is_rejected_while_all_are_in_use(
    servers: Servers, hub: str
) -> None:
    server = servers.get(hub, "--rooms", "2")
    async with reader(server, "sse", "limit-1"), reader(server, "websocket", "limit-2"):
        for transport in CLIENTS:
            error = await rejection(reader(server, transport, "limit-3"))
            # The first message of a SockJS session has no HTTP status.
            assert (error.status, error.code) == (None if transport == "sockjs" else 503, "busy")
            assert error.retry_after is not None
        # Publishing reads no room, and an open room accepts more readers.
        await say_in(server, "limit-3", "for other servers")
        async with reader(server, "fetch_streaming", "limit-1"):
            pass


# --- rates, per message --------------------------------------------------------------------------


SLOW = ("--messages-per-second", "0.01", "--message-burst", "5")


async def test_the_rate_is_per_message_on_one_websocket(
    shared_servers: SharedServers, room: str
) -> None:
    body = json.dumps({"text": "x", "client": room}).encode()
    async with Peer(shared_servers.get(*SLOW)) as peer:
        await peer.shake_hands(room)
        peer.writer.write(frame(TEXT, body) * 200)
        peer.writer.write(frame(0x8, (1000).to_bytes(2)))
        texts = [json.loads(f.payload) for f in frames_in(await peer.rest()) if f.opcode == TEXT]
    kinds = Counter(text.get("code", text["kind"]) for text in texts)
    assert (kinds["ack"], kinds["too_fast"]) == (5, 195)
    assert all(text["retry_after"] >= 1 for text in texts if text["kind"] == "error")


async def test_the_rate_is_per_message_on_one_keep_alive_connection(
    shared_servers: SharedServers, room: str
) -> None:
    body = json.dumps({"text": "x", "client": room}).encode()
    head = f"POST /rooms/{room}/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}"
    data, writer = await asyncio.open_connection("127.0.0.1", shared_servers.get(*SLOW).port)
    writer.write((head.encode() + b"\r\n\r\n" + body) * 100)
    writer.write((head + "\r\nConnection: close\r\n\r\n").encode() + body)
    statuses = check_all(await read_all(data))
    writer.close()
    assert statuses == [201] * 5 + [429] * 96


async def test_a_client_without_an_id_shares_the_rate_of_its_address(
    shared_servers: SharedServers, room: str
) -> None:
    url, path = shared_servers.get(*SLOW).url, f"/rooms/{room}/messages"
    statuses = [(await request(url, "POST", path, b'{"text":"x"}')).status for _ in range(8)]
    assert statuses == [201] * 5 + [429] * 3


NEVER_AGAIN = "0.0001"  # a rate per second


@pytest.mark.parametrize("kind", ["connection", "address", "room"])
async def test_a_flood_with_ever_new_client_ids_is_too_fast(kind: str, room: str) -> None:
    """A client chooses its id, so its connection, its address and its room have limits too."""
    option = f"--messages-per-second-per-{kind}"
    body = b'{"text":"x","client":"%032d"}'
    with MonitoredServer("--hub", "memory", option, NEVER_AGAIN) as server:
        async with Peer(server) as peer:
            await peer.shake_hands(room)
            peer.writer.write(b"".join(frame(TEXT, body % n) for n in range(20)))
            peer.writer.write(frame(0x8, (1000).to_bytes(2)))
            texts = [
                json.loads(f.payload) for f in frames_in(await peer.rest()) if f.opcode == TEXT
            ]
        path = f"/rooms/{room}/messages"
        post = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body % 1)}\r\n"
        data, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for number in range(20):
            writer.write(post.encode() + b"\r\n" + body % number)
        writer.write(post.encode() + b"Connection: close\r\n\r\n" + body % 20)
        statuses = check_all(await read_all(data))
        writer.close()
    kinds = Counter(text.get("code", text["kind"]) for text in texts)
    assert (kinds["ack"], kinds["too_fast"]) == (1, 19)
    assert statuses == [201] * (kind == "connection") + [429] * (20 + (kind != "connection"))


async def test_an_address_that_invents_rooms_is_busy_and_others_are_not() -> None:
    trusted = ("--trust-proxy", "127.0.0.1", "--kept-rooms-per-address", "6")
    with MonitoredServer("--hub", "memory", "--messages-per-second", "0", *trusted) as server:

        async def post_to(room: str, address: str) -> int:
            head = {"X-Forwarded-For": address}
            path = f"/rooms/{room}/messages"
            answer = await request(server.url, "POST", path, b'{"text":"x"}', head)
            assert answer.status == 201 or answer.json()["error"]["code"] == "busy"
            return answer.status

        hostile = [await post_to(f"invented-{n}", "10.0.0.1") for n in range(6)]
        assert hostile == [201] * 3 + [503] * 3
        assert await post_to("invented-0", "10.0.0.1") == 201
        assert await post_to("lobby", "10.0.0.2") == 201
        assert await post_to("lobby", "10.0.0.1") == 201


async def test_an_address_that_invents_members_is_too_fast() -> None:
    options = ("--joins-per-second-per-address", NEVER_AGAIN, "--connections-per-address", "5")
    with MonitoredServer("--hub", "memory", *options) as server:
        polls = "/rooms/lobby/short_polling?name=x&client="
        statuses = [(await request(server.url, "GET", f"{polls}{n}")).status for n in range(9)]
        again = await request(server.url, "GET", f"{polls}0")
    assert statuses == [200] * 5 + [429] * 4
    assert again.status == 200


async def test_one_address_does_not_open_all_rooms() -> None:
    options = ("--rooms", "8", "--rooms-per-address", "3", "--trust-proxy", "127.0.0.1")
    with MonitoredServer("--hub", "memory", *options) as server:
        polls = [
            asyncio.create_task(
                request(server.url, "GET", f"/rooms/r{n}/long_polling?after=now&wait=60")
            )
            for n in range(20)
        ]
        async with asyncio.timeout(SECONDS):
            while sum(poll.done() for poll in polls) < 17:
                await asyncio.sleep(0.01)
        assert {poll.result().status for poll in polls if poll.done()} == {503}
        other = {"X-Forwarded-For": "10.0.0.2"}
        lobby = await request(server.url, "GET", "/rooms/lobby/short_polling", None, other)
        assert lobby.status == 200
        assert (await request(server.url, "GET", "/readyz")).status == 200
        for poll in polls:
            poll.cancel()


# --- sizes ---------------------------------------------------------------------------------------

SIZED = ("--body-bytes", "1000", "--text-bytes", "900", "--messages-per-second", "0")


def of_size(size: int, text: int) -> bytes:
    """A message of `size` bytes, with a text of `text` bytes."""
    body = b'{"text":"' + b"x" * text + b'"}'
    return body + b" " * (size - len(body))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (of_size(1000, 900), 201),
        (of_size(1001, 900), 413),
        (of_size(0, 901), 413),
        (of_size(100_000, 1), 413),
    ],
)
async def test_a_post_is_accepted_up_to_exactly_its_limit(
    servers: Servers, room: str, body: bytes, expected: int
) -> None:
    server = servers.get("memory", *SIZED)
    answer = await request(server.url, "POST", f"/rooms/{room}/messages", body)
    check(answer.head, answer.body)
    assert answer.status == expected


async def test_a_frame_is_accepted_up_to_exactly_its_limit(servers: Servers, room: str) -> None:
    server = servers.get("memory", *SIZED)
    async with Peer(server) as peer:
        await peer.shake_hands(room)
        for body in (of_size(1000, 900), of_size(1001, 900), of_size(0, 901), of_size(0, 1)):
            peer.writer.write(frame(TEXT, body))
        peer.writer.write(frame(0x8, (1000).to_bytes(2)))
        texts = [json.loads(f.payload) for f in frames_in(await peer.rest()) if f.opcode == TEXT]
    answers = [text.get("code", "ack") for text in texts if text["kind"] != "say"]
    assert answers == ["ack", "too_long", "too_long", "ack"]


async def test_a_huge_frame_closes_its_connection_before_it_arrives(
    servers: Servers, room: str
) -> None:
    server = servers.get("memory", *SIZED)
    async with Peer(server) as peer:
        await peer.shake_hands(room)
        peer.writer.write(frame(TEXT, length=2**30))
        await peer.rest()
    assert (await get_json(server.url, "/healthz"))["status"] == "ok"
