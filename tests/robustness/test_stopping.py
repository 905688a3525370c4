"""A server stops on request, whatever it is doing.

Each test stops its server during some work; `MonitoredServer` waits for the exit, and fails if the
process does not exit, if its status is not 0, or if the log has a warning.
"""

import asyncio

import pytest

from tests.robustness.conftest import MakeServer
from tests.robustness.http_client import abort, get, run_concurrently


# redis-py can lose a cancellation in any of its commands, so the test stops at several moments.
@pytest.mark.parametrize(("hub", "attempt"), [("memory", 0), *(("redis", n) for n in range(5))])
async def test_a_server_stops_while_a_room_is_being_opened(
    make_server: MakeServer, room: str, attempt: int
) -> None:
    with make_server() as server:

        async def poll_and_disconnect() -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(get(f"/rooms/{room}/short_polling?client=a&name=b"))
            abort(writer)

        await run_concurrently(poll_and_disconnect for _ in range(100))
        await asyncio.sleep(0.003 * attempt)
