"""`realtime` as a shell sees it: the first line, signals, exit status, and error messages."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from realtime.client import CLIENTS, Closed, get_json, post, request
from tests.cli.command_line import run
from tests.conftest import Servers, missing
from tests.server_process import PROGRAM, Server
from tests.transports.raw import Raw
from tests.transports.readers import reader, take


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_stops_it_with_every_kind_of_stream_open(number: signal.Signals) -> None:
    with Server("--hub", "memory", "--drain-seconds", "0.3", program=PROGRAM) as server:
        assert server.process.stderr is not None
        clients = {name: kind(server.url, "lobby", after="now") for name, kind in CLIENTS.items()}
        for client in clients.values():
            await client.open()
        waiting = {
            name: asyncio.ensure_future(client.receive()) for name, client in clients.items()
        }
        server.stop(number)
        log = await asyncio.to_thread(server.process.stderr.read)
        assert await asyncio.to_thread(server.process.wait, 20) == 0
        with pytest.raises(Closed) as closed:
            await waiting["websocket"]
        for task in waiting.values():
            task.cancel()
        await asyncio.gather(*waiting.values(), return_exceptions=True)
        for client in clients.values():
            client.abort()
    assert closed.value.code == 1012  # "service restart", in the IANA registry of close codes
    (line,) = map(json.loads, log.splitlines())
    assert (line["level"], line["message"], line["signal"]) == ("INFO", "stopping", number.name)


async def test_every_port_and_network_leads_to_the_same_server() -> None:
    options = ("--hub", "memory", "--lanes", "3", "--networks", "2")
    with Server(*options, program=PROGRAM) as server:
        assert server.process.stdout is not None
        line = server.process.stdout.readline()
        about = await get_json(server.url, "/lab")
        assert about["lanes"][0] == server.port
        assert (len(set(about["lanes"])), about["networks"]) == (3, 2)
        lanes, _, networks = line.removeprefix("realtime: ports ").partition("; network emulators ")
        ports = [int(port) for port in f"{lanes}, {networks}".split(", ")]
        assert (ports[:3], len(set(ports))) == (about["lanes"], 5)
        network = (await request(server.url, "POST", "/networks?network=none")).json()
        assert network["port"] in ports[3:]
        hosts = [f"http://127.0.0.1:{port}" for port in [*about["lanes"], network["port"]]]
        responses = await asyncio.gather(*(get_json(host, "/lab") for host in hosts))
        assert all(response == about for response in responses)


# A machine that has neither of the two packages: they cannot be imported.
BARE = "import sys; sys.modules |= {'uvloop': None, 'hiredis': None}; sys.argv[0] = 'realtime'"


async def test_everything_works_without_uvloop_and_hiredis(servers: Servers, room: str) -> None:
    code = f"{BARE}; from realtime.cli.main import main; sys.exit(main())"
    with Server("--hub", servers.redis.url, program=("-c", code)) as server:
        async with AsyncExitStack() as stack:
            readers = [
                await stack.enter_async_context(reader(server, transport, room))
                for transport in CLIENTS
            ]
            for client in readers:
                await client.send("hello")
            received = [await take(client, 6) for client in readers]
        assert all(events == received[0] for events in received)


async def test_limits_of_the_command_line_hold() -> None:
    with Server("--hub", "memory", "--connections", "2", "--text-bytes", "3") as server:
        stream = CLIENTS["fetch_streaming"]
        async with stream(server.url, "lobby") as one, stream(server.url, "lobby"):
            response = await post(server.url, "lobby", text="x")
            assert (response.status, response.json()["error"]["code"]) == (503, "busy")
            assert int(response.head.fields["retry-after"]) >= 1
            assert one.cursor is None
        # The server closes both as soon as it has noticed that their clients are gone.
        async with asyncio.timeout(10):
            while (await post(server.url, "lobby", text="abc")).status != 201:
                await asyncio.sleep(0.01)
        assert (await post(server.url, "lobby", text="abcd")).status == 413
        assert (await get_json(server.url, "/healthz"))["status"] == "ok"


# --- little of everything ------------------------------------------------------------------------

MAIN = "from realtime.cli.main import main; sys.argv[0] = 'realtime'; sys.exit(main())"
FEW_FILES = f"import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); {MAIN}"
# As in a network whose name server does not answer.
NO_NAMES = f"import socket, sys, time; socket.gethostbyaddr = lambda _: time.sleep(10**6); {MAIN}"


async def test_more_clients_than_files_are_refused_or_wait_and_it_recovers() -> None:
    with Server("--hub", "memory", program=("-c", FEW_FILES)) as server:
        async with AsyncExitStack() as stack:
            # Each from its own address, because one address alone has only a share of everything.
            clients = [
                await stack.enter_async_context(Raw(server, f"127.0.1.{number}"))
                for number in range(1, 57)
            ]
            for raw in clients:
                raw.ask("/rooms/lobby/sse")
            statuses = {raw: (await raw.exactly(12))[-3:] for raw in clients[:40]}
            assert Counter(statuses.values()) == {b"200": 32, b"503": 8}
            for raw, status in statuses.items():
                if status == b"503":
                    raw.close()
            # The others are accepted as soon as those that were refused have gone.
            assert {(await raw.exactly(12))[-3:] for raw in clients[40:]} == {b"503"}
        async with asyncio.timeout(10):
            while (await post(server.url, "lobby", text="x")).status != 201:
                await asyncio.sleep(0.01)
    lines = [json.loads(line) for line in server.complaints.splitlines()]
    assert [line["message"] for line in lines] == [
        "the limit of open files also limits connections",
        "accepting pauses",
        "stopping",
    ]
    assert (lines[0]["open_files"], lines[0]["connections"]) == (64, 32)


async def test_it_starts_and_stops_where_no_name_server_answers() -> None:
    with Server("--hub", "memory", program=("-c", NO_NAMES)) as server:
        assert (await get_json(server.url, "/healthz"))["status"] == "ok"


def test_at_an_ipv6_address_the_url_has_brackets_and_there_are_no_lanes_for_a_reason() -> None:
    if not socket.has_ipv6:
        missing("IPv6")
    options = ("--hub", "memory", "--host", "::1", "--lanes", "3", "--networks", "2")
    with Server(*options) as server:
        assert (server.url, server.hub) == (f"http://[::1]:{server.port}", "memory")
        assert server.process.stdout is not None
        line = server.process.stdout.readline()
    assert line.startswith("realtime: no extra ports and no network emulators at ::1: ")


# --- what cannot start ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tls-certificate", "nowhere.pem"], "--tls-certificate, --tls-key: [Errno 2]"),
        (["--tls-certificate", __file__], "--tls-certificate, --tls-key: [SSL"),
        (["--tls-key", "key.pem"], "--tls-key: a key needs its --tls-certificate"),
        (["--access", "tickets"], "--access tickets and --ticket-keys FILE need each other"),
        (["--ticket-keys", "x"], "--access tickets and --ticket-keys FILE need each other"),
        (["--access", "tickets", "--ticket-keys", "nowhere"], "--ticket-keys: [Errno 2]"),
        (["--access", "tickets", "--ticket-keys", os.devnull], "--ticket-keys: a secret for HS256"),
        (["--hub", "http://127.0.0.1/"], "--hub must be auto, memory, spawn or an address"),
        (["--hub", "redis://127.0.0.1:1"], "the hub redis://127.0.0.1:1 cannot be reached: "),
        (["--hub", "redis://nobody.invalid"], "the hub redis://nobody.invalid cannot be reached: "),
        (["--hub", "rediss://[::1]:1"], "the hub rediss://[::1]:1 cannot be reached: "),
        (
            ["--host", "192.0.2.1"],
            "cannot listen on 192.0.2.1:0 ",
        ),  # RFC 5737: an address of nobody
    ],
)
def test_what_cannot_start_is_one_line_and_exit_1(options: list[str], message: str) -> None:
    result = run("--port", "0", *options)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"realtime: {message}")


@pytest.mark.parametrize("package", ["jwt", "cryptography.hazmat.primitives.asymmetric"])
@pytest.mark.parametrize(
    "command", [["--port", "0"], ["cluster", "--status-port", "0"], ["ticket"]]
)
def test_without_pyjwt_only_tickets_do_not_work(
    command: list[str], package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_bytes(b"x" * 32)
    for module in [name for name in sys.modules if name.split(".")[0] == "jwt"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    options = ["--key"] if command == ["ticket"] else ["--access", "tickets", "--ticket-keys"]
    result = run(*command, *options, str(keys))
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "pip install 'realtime-transports[tickets]'" in result.stderr


@pytest.mark.parametrize("command", [["--port", "0"], ["cluster", "--status-port", "0"]])
def test_a_hub_of_the_environment_that_cannot_be_reached_is_named(
    command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REALTIME_HUB", f"unix://{tmp_path}/nobody.sock")
    result = run(*command)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "nobody.sock cannot be reached" in result.stderr


def test_a_password_is_not_shown() -> None:
    result = run("--port", "0", "--hub", "redis://:secret@127.0.0.1:1/0")
    assert result.returncode == 1
    assert "secret" not in result.stderr


def test_a_port_in_use_is_one_line_and_exit_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("--port", str(port), "--hub", "memory")
    assert result.returncode == 1
    message = f"cannot listen on 127.0.0.1:{port} (--port {port}): Address already in use"
    assert result.stderr == f"realtime: {message}\n"
