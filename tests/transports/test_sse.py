"""Server-sent events on the wire: an `id:` that is the cursor, and a `data:` that is the event."""

import json

from realtime.core.events import Cursor, Event
from realtime.transports.sse import frame
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import Raw, stream_head
from tests.transports.readers import say_in

OPENING = b":\n\n"


def test_a_frame_is_an_id_and_one_line_of_data() -> None:
    event = Event(Cursor("e", 7), b'{"text":"\\n\\r"}')
    assert frame(event) == b'id: e-7\ndata: {"text":"\\n\\r"}\n\n'


async def test_the_header_fields_are_exactly_these(server: Server, room: str) -> None:
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse")
        assert await raw.head() == stream_head("text/event-stream")


async def test_the_first_byte_comes_at_once_also_in_an_empty_room(
    server: Server, room: str
) -> None:
    """Firefox fires `open` only with the first byte of the body."""
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse")
        await raw.head()
        assert await raw.chunk() == OPENING


async def test_a_message_is_an_id_line_a_data_line_and_an_empty_one(
    server: Server, room: str
) -> None:
    cursors = await say_in(server, room, "data: x\n\nid: 1\r\n")
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse")
        await raw.head()
        assert await raw.chunk() == OPENING
        id, data, *empty = (await raw.chunk()).split(b"\n")
    assert id == b"id: " + cursors[0].encode()
    assert data.startswith(b'data: {"kind":"say",')
    assert json.loads(data.removeprefix(b"data: "))["text"] == "data: x\n\nid: 1\r\n"
    assert empty == [b"", b""]


async def test_every_chunk_holds_whole_events(server: Server, room: str) -> None:
    cursors = await say_in(server, room, *map(str, range(40)))
    ids: list[str] = []
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse")
        await raw.head()
        assert await raw.chunk() == OPENING
        cursors += await say_in(server, room, *map(str, range(40, 60)))
        while len(ids) < 60:
            chunk = await raw.chunk()
            assert chunk.startswith(b"id: ")
            assert chunk.endswith(b"\n\n")
            ids += [block.split("\n")[0][4:] for block in chunk.decode().split("\n\n")[:-1]]
    assert ids == cursors


async def test_an_idle_stream_sends_comments(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--heartbeat-seconds", "0.1")
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse")
        await raw.head()
        assert [await raw.chunk() for _ in range(2)] == [b":\n\n", b":\n\n"]


async def test_a_last_event_id_wins_over_the_after_of_an_old_url(server: Server, room: str) -> None:
    first, second, third = await say_in(server, room, "1", "2", "3")
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse?after={first}", f"Last-Event-ID: {second}")
        await raw.head()
        assert await raw.chunk() == OPENING
        assert (await raw.until(b"\n")).endswith(b"\r\n")  # the size of the chunk
        assert await raw.until(b"\n") == f"id: {third}\n".encode()


async def test_a_polyfill_sends_the_last_event_id_in_the_url(server: Server, room: str) -> None:
    first, second, third = await say_in(server, room, "1", "2", "3")
    for fields, expected in (([], third), ([f"Last-Event-ID: {first}"], second)):
        async with Raw(server) as raw:
            raw.ask(f"/rooms/{room}/sse?after={first}&lastEventId={second}", *fields)
            await raw.head()
            assert await raw.chunk() == OPENING
            assert (await raw.chunk()).startswith(f"id: {expected}\n".encode())
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse?after={second}&lastEventId=")  # nothing received yet
        await raw.head()
        assert await raw.chunk() == OPENING
        assert (await raw.chunk()).startswith(f"id: {third}\n".encode())


async def test_a_last_event_id_that_is_no_cursor_is_a_named_error(
    server: Server, room: str
) -> None:
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse", "Last-Event-ID: seven")
        head = await raw.head()
        response = json.loads(await raw.body(head))
    assert head[0] == "HTTP/1.1 400 Bad Request"
    assert response["error"]["code"] == "bad_cursor"


async def test_http_1_0_gets_lines_without_chunks_that_end_with_the_connection(
    server: Server, room: str
) -> None:
    cursors = await say_in(server, room, "one", "two")
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse", version="1.0")
        head = await raw.head()
        assert await raw.until(b"\n\n") == OPENING
        blocks = [await raw.until(b"\n\n") for _ in range(2)]
    assert not any(line.startswith("Transfer-Encoding") for line in head)
    assert "Connection: close" in head
    assert [block.split(b"\n")[0].decode() for block in blocks] == [f"id: {c}" for c in cursors]


async def test_a_reader_from_now_receives_its_cursor_and_can_resume_from_it(
    server: Server, room: str
) -> None:
    (cursor,) = await say_in(server, room, "before")
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse?after=now")
        await raw.head()
        assert await raw.chunk() == f"id: {cursor}\n\n".encode()
    (missed,) = await say_in(server, room, "while it was disconnected")
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse?after=now", f"Last-Event-ID: {cursor}")
        await raw.head()
        assert await raw.chunk() == OPENING
        assert (await raw.chunk()).startswith(f"id: {missed}\n".encode())
