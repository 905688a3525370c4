"""Fetch streaming on the wire: one JSON object per line, in chunks of whole lines."""

import json

from realtime.core.events import Cursor, Event
from realtime.transports.fetch_streaming import frame
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import Raw, stream_head
from tests.transports.readers import say_in


def test_a_frame_is_the_event_and_a_line_feed() -> None:
    assert frame(Event(Cursor("e", 1), b'{"text":"\\n"}')) == b'{"text":"\\n"}\n'


async def test_the_header_fields_are_exactly_these(server: Server, room: str) -> None:
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/fetch_streaming")
        assert await raw.head() == stream_head("application/x-ndjson")


async def test_the_first_byte_comes_at_once_also_in_an_empty_room(
    server: Server, room: str
) -> None:
    """Firefox reports a response to the page only with the first byte of its body."""
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/fetch_streaming")
        await raw.head()
        assert await raw.chunk() == b"\n"


async def test_every_chunk_holds_whole_events(server: Server, room: str) -> None:
    await say_in(server, room, *map(str, range(40)))
    received: list[str] = []
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/fetch_streaming")
        await raw.head()
        await say_in(server, room, *map(str, range(40, 60)))
        while len(received) < 60:
            chunk = await raw.chunk()
            assert chunk.endswith(b"\n")
            received += [json.loads(line)["text"] for line in chunk.splitlines() if line]
    assert received == [str(n) for n in range(60)]


async def test_an_idle_stream_sends_empty_lines(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--heartbeat-seconds", "0.1")
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/fetch_streaming")
        await raw.head()
        assert [await raw.chunk() for _ in range(2)] == [b"\n", b"\n"]


async def test_http_1_0_gets_lines_without_chunks_that_end_with_the_connection(
    server: Server, room: str
) -> None:
    await say_in(server, room, "one", "two")
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/fetch_streaming", version="1.0")
        head = await raw.head()
        assert await raw.until(b"\n") == b"\n"
        lines = [json.loads(await raw.until(b"\n")) for _ in range(2)]
    assert not any(line.startswith("Transfer-Encoding") for line in head)
    assert "Connection: close" in head
    assert [line["text"] for line in lines] == ["one", "two"]
