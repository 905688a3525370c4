"""nginx with `proxy_buffering on`, its default: streams ask not to be buffered.

They send ``X-Accel-Buffering: no``; polls and WebSockets do not need it.  nginx 1.22 forwards
chunks as they come; without this header it would hold the response headers until the first chunk.
"""

import asyncio

import pytest

from realtime.client import CLIENTS
from tests.proxies.conftest import Fleets
from tests.transports.readers import SECONDS, reader, say_in, take, texts


@pytest.mark.parametrize("transport", CLIENTS)
async def test_messages_are_not_held(servers: Fleets, room: str, transport: str) -> None:
    # Without heartbeats: one would flush what nginx holds before it.
    fleet = servers.get("buffering", "--messages-per-second", "0", "--heartbeat-seconds", "60")
    async with asyncio.timeout(SECONDS):
        async with reader(fleet, transport, room, after="now") as client:  # type: ignore[arg-type]
            for text in ("one", "two", "three"):
                await say_in(fleet, room, text)  # type: ignore[arg-type]
                assert texts(await take(client, 1)) == [text]
