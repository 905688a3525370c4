"""A server that is told to stop does so, whatever is just being asked of it and by whomever.

Each test ends its server in the middle of something; `WatchedServer` waits for the end, and fails
if it does not come, if its status is not 0, or if the log holds a complaint.
"""

import asyncio

import pytest

from tests.robustness.conftest import Watch
from tests.robustness.http_client import abort, crowd, get


# Redis' library may lose a cancellation in any of its commands, so the end is tried more than once.
@pytest.mark.parametrize("attempt", range(8))
async def test_a_server_stops_while_a_room_is_being_opened(
    watch: Watch, room: str, attempt: int
) -> None:
    with watch() as server:

        async def enter_and_go() -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(get(f"/rooms/{room}/short_polling?client=a&name=b"))
            abort(writer)

        await crowd(enter_and_go for _ in range(100))
        await asyncio.sleep(0.002 * attempt)
