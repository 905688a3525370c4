"""Rooms and members, and what an operator asks."""

import asyncio
from typing import Any

import pytest
from redis import Redis as Client
from tornado.netutil import bind_sockets

from realtime import __version__
from realtime.app import make_router
from realtime.brokers.memory import MemoryBroker
from realtime.client import CLIENTS, get_json, post, request
from realtime.core.admission import Admission
from realtime.core.hub import Hub
from realtime.core.presence import Presence
from realtime.limits import Limits
from realtime.protocol.origin import OriginPolicy
from realtime.server.server import Server as TCPServer
from realtime.server.traffic import TrafficStats
from realtime.transports.base import Services
from tests.brokers.private_redis import PrivateRedis
from tests.cases import each
from tests.conftest import Redis
from tests.server_process import Server
from tests.transports.raw import Raw


async def test_a_room_is_listed_with_its_members_and_its_top(server: Any, room: str) -> None:
    async with CLIENTS["sse"](server.url, room, client="ada", name="Ada") as ada:
        await ada.receive()
        await post(server.url, room, text="hi")
        rooms = (await get_json(server.url, "/rooms"))["rooms"]
        assert {"room": room, "members": 1, "top": 2} in rooms


async def test_a_room_that_was_only_read_is_not_listed(server: Any, room: str) -> None:
    await get_json(server.url, f"/rooms/{room}/short_polling")
    rooms = (await get_json(server.url, "/rooms"))["rooms"]
    assert room not in [row["room"] for row in rooms]


async def test_a_member_is_listed_by_name_and_transport(server: Any, room: str) -> None:
    async with CLIENTS["websocket"](server.url, room, client="ada", name="<Ada> 😀") as ada:
        await ada.receive()
        assert await get_json(server.url, f"/rooms/{room}/members") == {
            "room": room,
            "members": [{"client": "ada", "name": "<Ada> 😀", "via": "websocket"}],
        }


async def test_a_deleted_member_is_off_the_list_at_once(server: Any, room: str) -> None:
    await get_json(server.url, f"/rooms/{room}/short_polling?client=ada&name=Ada")
    answer = await request(server.url, "DELETE", f"/rooms/{room}/members/ada")
    assert (answer.status, answer.body) == (204, b"")
    assert (await get_json(server.url, f"/rooms/{room}/members"))["members"] == []


@pytest.mark.parametrize("transport", ["sse", "websocket", "sockjs", "socketio"])
async def test_an_open_stream_is_listed_under_its_name_whatever_others_send(
    server: Any, room: str, transport: str
) -> None:
    async with CLIENTS[transport](server.url, room, client="ada", name="Ada") as ada:
        await ada.receive()
        await request(server.url, "DELETE", f"/rooms/{room}/members/ada")
        for other in ("short_polling", "long_polling?wait=0"):
            query = "&client=ada&name=Eve" if "?" in other else "?client=ada&name=Eve"
            await get_json(server.url, f"/rooms/{room}/{other}{query}")
        (member,) = (await get_json(server.url, f"/rooms/{room}/members"))["members"]
        assert (member["name"], member["via"]) == ("Ada", transport)


@pytest.mark.parametrize("transport", ["short_polling", "sse", "iframe_streaming", "socket.io"])
async def test_an_image_of_another_site_joins_nobody(
    server: Any, room: str, transport: str
) -> None:
    query = "client=ada&name=Ada"
    path = f"/rooms/{room}/{transport}?{query}"
    if transport == "socket.io":
        path = f"/socket.io/?roomid={room}&EIO=4&transport=polling&{query}"
    async with Raw(server) as raw:
        raw.ask(path, "User-Agent: Mozilla/5.0", "Accept: image/avif,*/*", "Connection: close")
        assert b" 403 " in (answer := await raw.rest())
        assert b"foreign_origin" in answer
    assert (await get_json(server.url, f"/rooms/{room}/members"))["members"] == []


async def test_rooms_and_members_are_listed_in_pages(server: Any, room: str) -> None:
    for client in "abc":
        query = f"client={client}&name=x"
        await get_json(server.url, f"/rooms/{room}.{client}/short_polling?{query}")
        await get_json(server.url, f"/rooms/{room}/short_polling?{query}")
    path = f"/rooms/{room}/members?limit=2"
    first = await get_json(server.url, path)
    assert ([row["client"] for row in first["members"]], first["total"]) == (["a", "b"], 3)
    last = await get_json(server.url, f"{path}&after={first['next']}")
    assert [row["client"] for row in last["members"]] == ["c"]
    assert last.keys() == {"room", "members"}
    first = await get_json(server.url, f"/rooms?limit=2&after={room}")
    assert [row["room"] for row in first["rooms"]] == [f"{room}.a", f"{room}.b"]
    last = await get_json(server.url, f"/rooms?limit=1&after={first['next']}")
    assert last["rooms"][0]["room"] == f"{room}.c"


@each("query", ["limit=0", "limit=x", "limit=1.5", "after=%FF", "after=" + 300 * "x"])
@each("path", ["/rooms", "/rooms/a/members"])
async def test_an_invalid_page_is_rejected(server: Any, path: str, query: str) -> None:
    answer = await request(server.url, "GET", f"{path}?{query}")
    code = "bad_limit" if "limit" in query else "bad_cursor"
    assert (answer.status, answer.json()["error"]["code"]) == (400, code)


async def test_one_page_is_bounded(servers: Any, hub: str, room: str) -> None:
    server = servers.get(hub, "--list-rows", "2")
    for client in "abc":
        await get_json(server.url, f"/rooms/{room}/short_polling?client={client}&name=x")
    for query in ("", "?limit=1000"):
        page = await get_json(server.url, f"/rooms/{room}/members{query}")
        assert (len(page["members"]), page["next"]) == (2, "b")


async def test_health_names_the_hub(server: Any) -> None:
    health = await get_json(server.url, "/healthz")
    assert (health["status"], health["hub"], health["version"]) == ("ok", server.hub, __version__)


async def test_the_server_is_ready(server: Any) -> None:
    assert await get_json(server.url, "/readyz") == {"status": "ready"}


async def test_without_its_hub_the_server_is_not_ready_and_reading_continues(
    tmp_path: Any, room: str
) -> None:
    redis = Redis(tmp_path)
    try:
        with Server("--hub", redis.url) as server:
            await post(server.url, room, text="before")
            await get_json(server.url, f"/rooms/{room}/short_polling")
            redis.stop()
            async with asyncio.timeout(10):
                answer = await request(server.url, "GET", "/readyz")
            assert (answer.status, answer.json()["error"]["code"]) == (503, "no_broker")
            refused = await post(server.url, room, text="now")
            assert (refused.status, refused.json()["error"]["code"]) == (503, "no_broker")
            assert int(refused.head.fields["retry-after"]) >= 1
            kept = await get_json(server.url, f"/rooms/{room}/short_polling")
            assert [event["text"] for event in kept["events"]] == ["before"]
    finally:
        redis.stop()


async def test_a_hub_that_refuses_a_command_is_the_reason_at_readyz_and_once_in_the_log(
    tmp_path: Any, room: str
) -> None:
    redis = Redis(tmp_path)
    try:
        with Client.from_url(redis.url) as admin:
            rights = ("on", ">secret", "~*", "&*", "+@all", "-@dangerous")
            admin.execute_command("ACL", "SETUSER", "realtime", *rights)
        reason = "Redis refuses INFO: the user needs the right +info (ACL SETUSER)"
        with Server("--hub", redis.url.replace("//", "//realtime:secret@")) as server:
            for _ in range(3):
                answer = await request(server.url, "GET", "/readyz")
                assert answer.status == 503
                assert answer.json()["error"]["message"] == f"The hub replies, but {reason}."
                refused = await post(server.url, room, text="now")
                assert (refused.status, refused.json()["error"]["code"]) == (503, "no_broker")
        assert server.complaints.count(reason) == server.complaints.count("hub command failed") == 1
    finally:
        redis.stop()


@pytest.mark.parametrize("path", ["/wire?client=%20", "/rooms/a/members/%00"])
async def test_an_invalid_client_is_rejected(server: Any, path: str) -> None:
    method = "DELETE" if "members" in path else "GET"
    answer = await request(server.url, method, path)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "bad_client")


async def test_a_frozen_hub_makes_the_server_not_ready_until_it_continues(room: str) -> None:
    with PrivateRedis() as redis, Server("--hub", redis.url) as server:
        await post(server.url, room, text="before")
        redis.pause()
        async with asyncio.timeout(10):
            answer = await request(server.url, "GET", "/readyz")
        assert (answer.status, answer.json()["error"]["code"]) == (503, "no_broker")
        assert int(answer.head.fields["retry-after"]) >= 1
        assert (await request(server.url, "GET", "/healthz")).status == 200
        redis.resume()
        async with asyncio.timeout(10):
            while (await request(server.url, "GET", "/readyz")).status != 200:
                await asyncio.sleep(0.01)
        assert (await post(server.url, room, text="after")).status == 201


async def test_a_stream_continues_after_the_hub_restarts_empty(room: str) -> None:
    with PrivateRedis() as redis, Server("--hub", redis.url) as server:
        async with CLIENTS["sse"](server.url, room) as reader:
            await post(server.url, room, text="before")
            assert (await reader.receive())["text"] == "before"
            redis.restart()
            async with asyncio.timeout(10):
                while (await post(server.url, room, text="after")).status != 201:
                    await asyncio.sleep(0.01)
                assert (await reader.receive())["kind"] == "gap"
                assert (await reader.receive())["text"] == "after"


@pytest.mark.parametrize("member", ["a", "%E8%81%8A", "a%20b"])
async def test_leaving_a_room_without_being_a_member_publishes_nothing(
    server: Any, room: str, member: str
) -> None:
    answer = await request(server.url, "DELETE", f"/rooms/{room}/members/{member}")
    assert answer.status == (204 if member == "a" else 400)
    assert room not in [row["room"] for row in (await get_json(server.url, "/rooms"))["rooms"]]


async def test_costly_requests_wait_for_their_turn_and_others_do_not() -> None:
    limits, traffic = Limits(), TrafficStats()
    broker = MemoryBroker(limits)
    hub, presence = Hub(broker, limits), Presence(broker, limits, node_id="one")
    await hub.start()
    policy = OriginPolicy(["localhost"])
    services = Services(hub, presence, policy, Admission(limits), limits)
    router = make_router(services, traffic, "memory", None)  # type: ignore[arg-type]  # no lab
    server = TCPServer(router, traffic=traffic, limits=limits)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    costly = ("/rooms", "/rooms/lobby/members", "/wire", "/metrics")
    async with services.turns.take("another address"):
        waiting = [asyncio.create_task(request(url, "GET", path)) for path in costly]
        for _ in range(3):
            assert (await request(url, "GET", "/healthz")).status == 200
        assert not any(task.done() for task in waiting)
    assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
    await server.close()
    await hub.close()
