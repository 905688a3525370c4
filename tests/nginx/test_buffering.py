"""Nginx with `proxy_buffering on`, as it is by default: streams say that they are not to be held.

They say it by ``X-Accel-Buffering: no``; polls and WebSockets have no need to.  Nginx 1.22 passes
on what comes in chunks; what it holds without that field is a head that nothing follows yet.
"""

import asyncio

import pytest

from benchmarks.clients import CLIENTS
from tests.nginx.conftest import Fleets
from tests.transports.readers import SECONDS, reader, say_in, take, texts


@pytest.mark.parametrize("transport", CLIENTS)
async def test_what_is_said_is_not_held(servers: Fleets, room: str, transport: str) -> None:
    # Without a heartbeat, which would push on what is held before it.
    fleet = servers.get("buffering", "--messages-per-second", "0", "--heartbeat-seconds", "60")
    async with asyncio.timeout(SECONDS):
        async with reader(fleet, transport, room, after="now") as client:  # type: ignore[arg-type]
            for words in ("one", "two", "three"):
                await say_in(fleet, room, words)  # type: ignore[arg-type]
                assert texts(await take(client, 1)) == [words]
