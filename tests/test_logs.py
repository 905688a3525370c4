"""Important events are logged as one JSON object per line; messages and requests are not."""

import asyncio
import json
import logging
from typing import Any

import pytest

from realtime import logs
from realtime.client import request
from tests.brokers.private_redis import PrivateRedis
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import reader, say_in, take


def log_of(server: Server) -> list[dict[str, Any]]:
    """Return every line that a server logged; call it after the server has stopped."""
    return [json.loads(line) for line in server.complaints.splitlines()]


async def test_a_line_has_time_level_logger_and_message(room: str) -> None:
    with PrivateRedis() as redis, Server("--hub", redis.url) as server:
        async with reader(server, "sse", room) as client:
            async with asyncio.timeout(20):  # only a working pub/sub connection can be lost
                while (await request(server.url, "GET", "/readyz")).status != 200:
                    await asyncio.sleep(0.01)
            redis.restart()
            await take(client, 1)  # the gap: by then it was found
    message = "the hub subscription is lost"
    lost = next(line for line in log_of(server) if line["message"] == message)
    assert lost.keys() == {"time", "level", "by", "message", "error"}
    assert (lost["level"], lost["by"]) == ("WARNING", "realtime.brokers.redis.pubsub")


async def test_neither_valid_nor_invalid_requests_are_logged(room: str) -> None:
    with Server("--hub", "memory") as server:
        async with reader(server, "websocket", room) as client:
            await say_in(server, room, "hello", "again")
            await take(client, 2)
        for garbage in (
            b"\0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            b"GET nowhere\r\n\r\n",
        ):
            async with Raw(server) as raw:
                raw.send(garbage)
                await raw.rest()
    assert [line["message"] for line in log_of(server)] == ["stopping"]


def test_what_repeats_is_limited_per_minute_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    limit = logs.RepeatFilter()

    def passes(line: int, **extra: int) -> logging.LogRecord | None:
        record = logging.LogRecord("a", logging.ERROR, "a.py", line, "failed", (), None)
        record.__dict__ |= extra
        return record if limit.filter(record) else None

    assert sum(passes(1) is not None for _ in range(65_000)) == 60
    assert passes(2) is not None  # another place in the code
    assert passes(3, per_minute=1) is not None
    assert passes(3, per_minute=1) is None
    now = 61.0
    record = passes(1)
    assert record is not None
    assert record.__dict__["suppressed"] == 65_000 - 60
    record = passes(1)
    assert record is not None
    assert "suppressed" not in record.__dict__
