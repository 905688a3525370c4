"""`realtime capture`: each transport, as tshark reads it; and what is refused."""

import argparse
import asyncio
import io
import signal
import sys
from pathlib import Path

import pytest

from benchmarks.clients import post
from realtime.cli.capture import READERS, record
from realtime.cli.config import CommandError
from tests import tshark
from tests.cases import each
from tests.cli.command_line import run
from tests.conftest import Servers
from tests.fake_server import until
from tests.server_process import ROOT, Server
from tests.ticket_keys import SECRET, ticket

MARK = "a-message-in-the-capture"
STREAMS = {"iframe_streaming": "text/html", "sse": "text/event-stream"}
STREAMS |= {"fetch_streaming": "application/x-ndjson"}
FRAMES = ("websocket", "sockjs", "socketio")


@pytest.fixture
def server(servers: Servers) -> Server:
    return servers.get("memory", "--messages-per-second", "0")


def options(server: Server, **changes: object) -> argparse.Namespace:
    given = {"url": server.url, "room": "lobby", "seconds": 60.0, "ticket": None}
    return argparse.Namespace(**given, **{"transport": ["sse"], **changes})


async def test_tshark_reads_a_capture_of_each_transport(
    server: Server, room: str, tmp_path: Path
) -> None:
    await post(server.url, room, text=MARK)
    file = tmp_path / "lesson.pcapng"
    command = [sys.executable, "-m", "realtime", "capture", server.url, "--room", room]
    with file.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, "--seconds", "60", stdout=output, stderr=asyncio.subprocess.PIPE, cwd=ROOT
        )
        # Each reader starts with the history.
        await until(lambda: file.read_bytes().count(MARK.encode()) >= len(READERS))
        process.send_signal(signal.SIGINT)
        _, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    assert tshark.faults(file) == ""

    data = file.read_bytes()
    assert data.count(b"trace=" + b"*" * 32) >= len(READERS)  # our secret
    assert b"POST " not in data  # of another client
    names = ("frame.interface_name", "http.request.uri", "http.content_type", "websocket.opcode")
    rows = tshark.fields(file, *names)
    for transport in READERS:
        uris = [uri for name, uri, *_ in rows if name == transport and uri]
        assert [uri for uri in uris if transport.replace("socketio", "socket.io") in uri], rows
    types = {(name, kind) for name, _, kind, _ in rows}
    assert STREAMS.items() <= {(name, kind.partition(";")[0]) for name, kind in types}
    assert {name for name, *_, opcode in rows if opcode == "1"} == set(FRAMES)
    texts = tshark.fields(file, "frame.interface_name", "json.value.string", only="json")
    with_json = {name for name, values in texts if MARK in values}
    assert {"short_polling", "long_polling", "websocket"} <= with_json
    # Each connection has its end.
    starts, ends = (
        {row[0] for row in tshark.fields(file, "tcp.stream", only=f"tcp.flags.{flag} == 1")}
        for flag in ("syn", "fin")
    )
    assert starts == ends


@each(
    ("changes", "complaint"),
    [
        ({"url": "foo"}, "foo is not the address of a server"),
        ({"url": "http://[::1"}, "http://[::1"),
        ({"url": "http://127.0.0.1:1"}, "http://127.0.0.1:1: "),
        ({"room": "a b"}, "bad_room"),
        ({"room": "a b", "transport": ["websocket"]}, "bad_room"),
        ({"seconds": 0.0}, "--seconds"),
        ({"seconds": float("nan")}, "--seconds"),
    ],
)
async def test_what_cannot_be_recorded_is_a_named_error(
    server: Server, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(CommandError) as error:
        await record(options(server, **changes), io.BytesIO(), asyncio.Event())
    assert complaint in str(error.value)


async def test_a_server_that_stops_ends_the_capture(room: str) -> None:
    output = io.BytesIO()
    with Server("--hub", "memory") as server:
        recording = asyncio.create_task(record(options(server), output, asyncio.Event()))
        await until(lambda: b"200 OK" in output.getvalue())
        server.stop()
        await server.ended()
    with pytest.raises(CommandError):
        await recording


async def test_a_capture_ends_after_its_time(server: Server) -> None:
    output = io.BytesIO()
    await record(options(server, seconds=0.05), output, asyncio.Event())
    assert output.getvalue().startswith(b"\x0a\x0d\x0d\x0a")


def test_a_transport_that_does_not_exist_is_named() -> None:
    result = run("capture", "--transport", "sse,telepathy")
    assert (result.returncode, result.stdout) == (2, "")
    assert "no transport: telepathy" in result.stderr


async def test_a_ticket_opens_a_room_and_is_not_in_the_file(
    servers: Servers, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_bytes(SECRET)
    server = servers.get("memory", "--access", "tickets", "--ticket-keys", str(keys))
    output, stop, token = io.BytesIO(), asyncio.Event(), ticket(rooms=["lobby"], actions=["read"])
    given = options(server, ticket=token, transport=["sse", "websocket", "sockjs", "socketio"])
    recording = asyncio.create_task(record(given, output, stop))
    await until(lambda: output.getvalue().count(b"Authorization: Bearer ***") == 4)
    stop.set()
    await recording
    assert token.encode() not in output.getvalue()
    with pytest.raises(CommandError, match="no_ticket"):
        await record(options(server), io.BytesIO(), asyncio.Event())
