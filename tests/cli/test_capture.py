"""`realtime capture`: each transport, as tshark reads it; and what is refused."""

import argparse
import asyncio
import io
import signal
import sys
from pathlib import Path

import pytest

from realtime.cli.capture import TRANSPORTS
from realtime.cli.config import CommandError
from realtime.cli.recorder import record
from realtime.client import ALL_CLIENTS, CLIENTS, post
from tests import tshark
from tests.cases import each
from tests.cli.command_line import run
from tests.conftest import Servers
from tests.fake_server import FakeServer, until
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
    return argparse.Namespace(**{**given, "transport": ["sse"], **changes})


def test_each_transport_can_be_named() -> None:
    assert [*TRANSPORTS] == [*ALL_CLIENTS]


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
        await until(lambda: file.read_bytes().count(MARK.encode()) >= len(ALL_CLIENTS))
        process.send_signal(signal.SIGINT)
        _, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    assert tshark.faults(file) == ""

    data = file.read_bytes()
    assert data.count(b"trace=" + b"*" * 32) >= len(ALL_CLIENTS)  # our secret
    assert b"/messages" not in data  # of another client
    names = ("frame.interface_name", "http.request.uri", "http.content_type", "websocket.opcode")
    rows = tshark.fields(file, *names)
    assert {name for name, *_ in rows} == set(ALL_CLIENTS)
    for transport in CLIENTS:
        uris = [uri for name, uri, *_ in rows if name == transport and uri]
        assert [uri for uri in uris if transport.replace("socketio", "socket.io") in uri], rows
    assert {name for name, *_, opcode in rows if opcode == "1"} == set(FRAMES)
    shown = {"short_polling", "long_polling", "webtransport"}
    assert names_with_json(file) == shown
    # With the settings that the comment of the file names.
    assert names_with_json(file, live=True) == shown | {"websocket"}
    rows = tshark.fields(file, *names[:3], only="http.response", live=True)
    assert STREAMS.items() <= {(name, kind.partition(";")[0]) for name, _, kind in rows}
    # Each connection has its end.
    starts, ends = (
        {row[0] for row in tshark.fields(file, "tcp.stream", only=f"tcp.flags.{flag} == 1")}
        for flag in ("syn", "fin")
    )
    assert starts == ends


def names_with_json(file: Path, *, live: bool = False) -> set[str]:
    """The transports whose events tshark shows as JSON."""
    names = ("frame.interface_name", "json.value.string")
    rows = tshark.fields(file, *names, only="json", live=live)
    return {name for name, values in rows if MARK in values}


@each(
    ("changes", "complaint"),
    [
        ({"url": "foo"}, "foo is not the address of a server"),
        ({"url": "http://[::1"}, "http://[::1"),
        ({"url": "http://127.0.0.1:1"}, "http://127.0.0.1:1: "),
        ({"url": f"http://{'a' * 64}.example"}, "a.example: "),
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
    with pytest.raises(CommandError, match="the server has "):
        await recording


async def test_a_capture_ends_after_its_time(server: Server) -> None:
    output = io.BytesIO()
    await record(options(server, seconds=3.0), output, asyncio.Event())
    assert output.getvalue().startswith(b"\x0a\x0d\x0d\x0a")


async def test_a_transport_that_is_not_in_the_file_is_named(server: Server) -> None:
    """As where the connection was at another worker than the tap; here there was no time."""
    with pytest.raises(CommandError, match="nothing was recorded of sse: "):
        await record(options(server, seconds=1e-9), io.BytesIO(), asyncio.Event())


async def test_a_transport_that_gets_no_response_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.client.quic_socket._OPEN_SECONDS", 0.0)
    with pytest.raises(CommandError, match="no response by webtransport: "):
        await record(options(server, transport=["webtransport"]), io.BytesIO(), asyncio.Event())


@each("body", [b"[]", b"{}", b"7", b"<html>"])
async def test_a_server_that_is_not_ours_is_a_named_error(body: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    given = {"room": "lobby", "seconds": 60.0, "ticket": None, "transport": None}
    async with FakeServer(answer) as other:
        url = f"http://127.0.0.1:{other.port}"
        with pytest.raises(CommandError, match="not "):
            await record(argparse.Namespace(url=url, **given), io.BytesIO(), asyncio.Event())


async def test_a_full_disk_is_a_named_error(server: Server) -> None:
    with (
        open("/dev/full", "wb", buffering=0) as output,
        pytest.raises(CommandError, match="the file: "),
    ):
        await record(options(server), output, asyncio.Event())


def test_a_bad_option_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ticket"
    file.write_text("two\nlines")
    for option, value, complaint in (
        ("--transport", "sse,telepathy", "no transport: telepathy"),
        ("--ticket", str(tmp_path / "missing"), "No such file"),
        ("--ticket", str(file), "there is no ticket in "),
    ):
        result = run("capture", option, value)
        assert (result.returncode, result.stdout) == (2, "")
        assert complaint in result.stderr


async def test_a_ticket_opens_a_room_and_is_not_in_the_file(
    servers: Servers, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_bytes(SECRET)
    server = servers.get("memory", "--access", "tickets", "--ticket-keys", str(keys))
    output, stop, token = io.BytesIO(), asyncio.Event(), ticket(rooms=["lobby"], actions=["read"])
    given = options(server, ticket=token, transport=["sse", "websocket", "sockjs", "socketio"])
    recording = asyncio.create_task(record(given, output, stop))
    # One request each; SockJS asks for its information, and Socket.IO polls before it upgrades.
    await until(lambda: output.getvalue().count(b"Authorization: Bearer ***") >= 8)
    stop.set()
    await recording
    assert token.encode() not in output.getvalue()
    with pytest.raises(CommandError, match="no_ticket"):
        await record(options(server), io.BytesIO(), asyncio.Event())
