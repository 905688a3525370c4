"""The faults of one server: only what it started, and everything recovers."""

from typing import Any

import pytest
from redis.asyncio import Redis

from realtime.client import get_json, post
from tests.cluster_fixture import until_gone
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.readers import reader, take, texts
from tests.web.test_faults import (
    OPTIONS,
    children,
    inject,
    process_state,
    until_healed,
    until_state,
)

# --- into what -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "target", "values", "status", "code"),
    [
        ("kill", "clients", {}, 400, "bad_fault"),
        ("close", "1", {}, 400, "bad_fault"),
        ("close", "pubsub", {}, 400, "bad_fault"),  # a hub in memory has none
        ("close", "clients", {"seconds": 31}, 400, "bad_seconds"),
        ("kill", "redis", {}, 409, "not_ours"),
    ],
)
async def test_other_faults_are_refused_with_a_reason(
    servers: Servers, kind: str, target: str, values: dict[str, Any], status: int, code: str
) -> None:
    answer = await inject(servers.get("memory", *OPTIONS).url, kind, target, **values)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)


async def test_a_redis_of_others_is_never_touched(servers: Servers) -> None:
    server = servers.get("redis", *OPTIONS)
    for kind in ("freeze", "kill"):
        answer = await inject(server.url, kind, "redis")
        assert (answer.status, answer.json()["error"]["code"]) == (409, "not_ours")
        assert "--hub spawn" in answer.json()["error"]["message"]
    assert process_state(servers.redis.process.pid) in "SR"
    report = await get_json(server.url, "/faults")
    assert [control["target"] for control in report["controls"]] == ["clients", "pubsub"]


async def subscriptions_of(servers: Servers) -> set[str]:
    """Return the pub/sub connections of all servers at this Redis."""
    async with Redis.from_url(servers.redis.url) as redis:
        return {client["id"] for client in await redis.client_list(_type="pubsub")}


# --- that all recovers ---------------------------------------------------------------------------


async def test_readers_and_the_subscription_resume_after_their_connections_were_closed(
    servers: Servers, room: str
) -> None:
    server = servers.get("redis", *OPTIONS)
    client = reader(server, "sse", room)
    async with client:
        await post(server.url, room, text="before")
        assert texts(await take(client, 1)) == ["before"]
        subscriptions = await subscriptions_of(servers)
        answer = (await inject(server.url, "close", "pubsub")).check(202)
        await until_healed(server.url, answer.json()["number"])
        assert len(subscriptions - await subscriptions_of(servers)) == 1
        await post(server.url, room, text="through")
        assert texts(await take(client, 1)) == ["through"]
        (await inject(server.url, "close", "clients")).check(202)
        with pytest.raises(ConnectionError):
            await take(client, 1)
    await post(server.url, room, text="meanwhile")
    async with reader(server, "sse", room, after=client.cursor) as resumed:
        assert texts(await take(resumed, 1)) == ["meanwhile"]


async def test_a_private_redis_is_frozen_killed_and_works_again(room: str) -> None:
    with Server("--hub", "spawn", *OPTIONS) as server:
        (redis,) = children(server.process.pid)
        frozen = (await inject(server.url, "freeze", "redis", seconds=0.5)).check(202).json()
        busy = await inject(server.url, "kill", "redis")
        assert (busy.status, busy.json()["error"]["code"]) == (409, "target_busy")
        assert (await until_healed(server.url, frozen["number"]))["healed_after"] >= 0.5
        await post(server.url, room, text="kept")
        killed = (await inject(server.url, "kill", "redis")).check(202).json()
        await until_healed(server.url, killed["number"])
        (successor,) = children(server.process.pid)
        assert successor != redis
        assert (await post(server.url, room, text="new")).status == 201
        (await inject(server.url, "freeze", "redis", seconds=30)).check(202)
        await until_state(successor, "T")
    assert "a fault was injected" in server.complaints
    await until_gone([successor])  # and not after 30 s


async def test_a_frozen_process_continues_when_its_server_is_killed() -> None:
    with Server("--hub", "spawn", *OPTIONS) as server:
        (redis,) = children(server.process.pid)
        (await inject(server.url, "freeze", "redis", seconds=0.5)).check(202)
        await until_state(redis, "T")
        server.kill()
    await until_gone([redis])  # its SIGTERM was pending
