"""The figures of `/metrics`, in the format of Prometheus, parsed by its own library."""

import asyncio
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from realtime.client import CLIENTS, get_json, post, request
from tests.brokers.private_redis import PrivateRedis
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.readers import OURS, reader, say_in, take

SECONDS = 20


async def figure(server: Server, name: str, **labels: str) -> float:
    """Return one value; 0 if there is no such series yet."""
    answer = await request(server.url, "GET", "/metrics")
    return next(
        (
            sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
            if (sample.name, sample.labels) == (name, labels)
        ),
        0,
    )


async def wait_until(
    condition: Callable[[float], bool], server: Server, name: str, **labels: str
) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition(await figure(server, name, **labels)):
            await asyncio.sleep(0.01)


@pytest.fixture
def alone(servers: Servers) -> Server:
    """A server whose figures no other test changes."""
    return servers.get("memory", "--history-events", "7", "--messages-per-second", "0")


async def test_the_response_is_in_the_format_of_prometheus(alone: Server) -> None:
    answer = await request(alone.url, "GET", "/metrics")
    assert answer.head.fields["content-type"].startswith("text/plain; version=")
    names = {family.name for family in text_string_to_metric_families(answer.body.decode())}
    assert {
        *("realtime_connections", "realtime_requests", "realtime_bytes_in", "realtime_bytes_out"),
        *("realtime_events", "realtime_connections_open", "realtime_publish_seconds"),
        *("realtime_delivery_seconds", "realtime_rooms", "realtime_syncs", "realtime_gaps"),
        *("realtime_slow_followers", "realtime_broker_up", "realtime_readers", "realtime_tasks"),
        *("realtime_members", "realtime_draining", "realtime_stalled_connections"),
        *("realtime_refused", "realtime_task_failures", "realtime_resets"),
        "process_resident_memory_bytes",
    } <= names


@pytest.mark.parametrize("transport", CLIENTS)
async def test_the_counters_equal_those_of_wire(alone: Server, room: str, transport: str) -> None:
    async with reader(alone, transport, room) as client:
        await say_in(alone, room, "hello")
        await take(client, 1)
        row = (await get_json(alone.url, "/wire"))["transports"][transport]
        for name in ("connections", "events"):
            assert await figure(alone, f"realtime_{name}_total", transport=transport) == row[name]
        # The libraries also send HTTP requests, on connections that they keep open.
        most = 1 if transport in OURS else 3
        open_now = await figure(alone, "realtime_connections_open", transport=transport)
        assert 1 <= open_now <= most


async def test_a_message_is_timed_when_it_is_published_and_when_it_is_delivered(
    alone: Server, room: str
) -> None:
    published = await figure(alone, "realtime_publish_seconds_count")
    delivered = await figure(alone, "realtime_delivery_seconds_count")
    async with reader(alone, "sse", room) as client:
        await say_in(alone, room, "hello")
        await take(client, 1)
    assert await figure(alone, "realtime_publish_seconds_count") == published + 1
    assert await figure(alone, "realtime_delivery_seconds_count") == delivered + 1


@pytest.mark.parametrize("transport", ["short_polling", "long_polling", "sse", "websocket"])
async def test_each_reader_that_receives_a_gap_is_counted_by_its_reason(
    alone: Server, room: str, transport: str
) -> None:
    before = await figure(alone, "realtime_gaps_total", reason="trimmed")
    first, *_ = await say_in(alone, room, *"abcdefghij")
    async with reader(alone, transport, room, after=first) as client:
        assert (await take(client, 1))[0]["kind"] == "gap"
    assert await figure(alone, "realtime_gaps_total", reason="trimmed") == before + 1


async def test_a_refused_message_is_counted_by_its_code(alone: Server, room: str) -> None:
    before = await figure(alone, "realtime_refused_total", code="bad_text")
    await post(alone.url, room, text=1)
    assert await figure(alone, "realtime_refused_total", code="bad_text") == before + 1


async def test_rooms_and_readers_are_the_current_ones(alone: Server, room: str) -> None:
    async with (
        reader(alone, "sse", room, client="ada", name="Ada"),
        reader(alone, "long_polling", room, after="now") as poll,
    ):
        waiting = asyncio.create_task(poll.receive())
        await wait_until(lambda value: value == 1, alone, "realtime_readers", **{"as": "waiting"})
        assert await figure(alone, "realtime_readers", **{"as": "following"}) == 1
        assert await figure(alone, "realtime_rooms", state="live") >= 1
        assert await figure(alone, "realtime_members") >= 1
        await say_in(alone, room, "hello")
        await waiting
    await wait_until(lambda value: value == 0, alone, "realtime_readers", **{"as": "following"})


async def test_a_hub_that_is_down_is_reported_and_its_return_causes_a_sync(room: str) -> None:
    with PrivateRedis() as redis, Server("--hub", redis.url) as server:
        async with reader(server, "sse", room) as client:
            assert await figure(server, "realtime_broker_up") == 1
            redis.kill()
            assert await figure(server, "realtime_broker_up") == 0
            confirmed = await figure(server, "realtime_syncs_total", cause="confirmed")
            redis.start()
            await wait_until(
                lambda value: value > confirmed, server, "realtime_syncs_total", cause="confirmed"
            )
            await wait_until(lambda value: value == 1, server, "realtime_resets_total")
            await say_in(server, room, "again")
            assert (await take(client, 2))[1]["text"] == "again"
