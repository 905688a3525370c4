"""The command line, as a shell sees it: the first line, the exit status, the complaints."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from benchmarks.clients import CLIENTS, Closed, get_json, post
from realtime.limits import Limits
from tests.conftest import Servers
from tests.server_process import ROOT, Server
from tests.transports.readers import reader, take


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "realtime", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=ROOT)


def test_the_first_line_says_where_and_which_hub() -> None:
    with Server("--hub", "memory") as server:
        assert server.hub == "memory"
        assert server.url == f"http://127.0.0.1:{server.port}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_tidily_with_every_kind_of_stream_open(
    number: signal.Signals,
) -> None:
    with Server("--hub", "memory") as server:
        clients = [kind(server.url, "lobby", after="now") for kind in CLIENTS.values()]
        for client in clients:
            await client.open()
        waiting = [asyncio.ensure_future(client.receive()) for client in clients]
        server.stop(number)
        assert await asyncio.to_thread(server.process.wait, 20) == 0
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for client in clients:
            client.abort()


# What a machine is like that has neither of the two: they cannot be imported.
BARE = "import sys; sys.modules |= {'uvloop': None, 'hiredis': None}; sys.argv[0] = 'realtime'"


async def test_everything_works_without_uvloop_and_hiredis(servers: Servers, room: str) -> None:
    code = f"{BARE}; from realtime.cli.serve import main; sys.exit(main())"
    with Server("--hub", servers.redis.url, program=("-c", code)) as server:
        async with AsyncExitStack() as stack:
            everybody = [
                await stack.enter_async_context(reader(server, transport, room))
                for transport in CLIENTS
            ]
            for client in everybody:
                await client.send("hello")
            heard = [await take(client, 6) for client in everybody]
        assert all(events == heard[0] for events in heard)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--tls-certificate", "nowhere.pem"], "--tls-certificate, --tls-key: [Errno 2]"),
        (["--tls-certificate", "README.md"], "--tls-certificate, --tls-key: [SSL"),
        (["--tls-key", "key.pem"], "--tls-key: a key needs its --tls-certificate"),
    ],
)
def test_a_certificate_that_is_none_is_one_line_and_exit_1(
    options: list[str], complaint: str
) -> None:
    result = run("--port", "0", "--hub", "memory", *options)
    assert result.returncode == 1
    assert result.stderr.startswith(f"realtime: {complaint}")
    assert result.stderr.count("\n") == 1


def test_a_hub_that_cannot_be_reached_is_one_line_and_exit_1(tmp_path: Path) -> None:
    result = run("--port", "0", "--hub", f"unix://{tmp_path}/nothing.sock")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("realtime: the hub unix://")
    assert result.stderr.count("\n") == 1


def test_a_password_is_not_shown() -> None:
    result = run("--port", "0", "--hub", "redis://:secret@127.0.0.1:1/0")
    assert result.returncode == 1
    assert "secret" not in result.stderr


def test_a_port_in_use_is_one_line_and_exit_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("--port", str(taken.getsockname()[1]), "--hub", "memory")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "in use" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "70000"],
        ["--port", "x"],
        ["--text-bytes", "0"],
        ["--text-bytes", "1.5"],
        ["--messages-per-second", "-1"],
        ["--lease-seconds", "nan"],
        ["--heartbeat-seconds", "0"],
        ["--nonsense"],
    ],
)
def test_a_bad_option_is_refused(arguments: list[str]) -> None:
    assert run(*arguments).returncode == 2


def test_a_bad_hub_is_refused() -> None:
    result = run("--port", "0", "--hub", "http://127.0.0.1/")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)


def test_every_limit_is_an_option() -> None:
    shown = run("--help").stdout
    missing = [
        limit.name for limit in Limits.named() if "--" + limit.name.replace("_", "-") not in shown
    ]
    assert missing == []


async def test_a_limit_given_is_a_limit_kept() -> None:
    with Server("--hub", "memory", "--text-bytes", "3") as server:
        assert (await post(server.url, "lobby", text="abcd")).status == 413
        assert (await post(server.url, "lobby", text="abc")).status == 201


async def test_connections_above_the_limit_are_told_busy_and_the_others_live_on() -> None:
    with Server("--hub", "memory", "--connections", "2") as server:
        stream = CLIENTS["fetch_streaming"]
        async with stream(server.url, "lobby") as one, stream(server.url, "lobby"):
            answer = await post(server.url, "lobby", text="x")
            assert (answer.status, answer.json()["error"]["code"]) == (503, "busy")
            assert int(answer.head.fields["retry-after"]) >= 1
            assert one.cursor is None
        # Both are gone as soon as the server has seen it.
        async with asyncio.timeout(10):
            while (await post(server.url, "lobby", text="x")).status != 201:
                await asyncio.sleep(0.01)
        assert (await get_json(server.url, "/healthz"))["status"] == "ok"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_is_nothing_to_complain_about(number: signal.Signals) -> None:
    with Server("--hub", "memory") as server:
        assert server.process.stderr is not None
        async with CLIENTS["long_polling"](server.url, "lobby", after="now") as client:
            waiting = asyncio.ensure_future(client.receive())
            server.stop(number)
            complaints = await asyncio.to_thread(server.process.stderr.read)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    (line,) = map(json.loads, complaints.splitlines())
    assert (line["level"], line["message"], line["signal"]) == ("INFO", "stopping", number.name)


def test_a_host_by_number_of_six_parts_is_shown_as_an_address() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with Server("--hub", "memory", "--host", "::1") as server:
        assert server.url == f"http://[::1]:{server.port}"


@pytest.mark.parametrize(
    "hub", ["redis://127.0.0.1:1", "redis://nobody.invalid", "rediss://[::1]:1"]
)
def test_a_hub_on_the_network_that_is_not_there_is_one_line_and_exit_1(hub: str) -> None:
    result = run("--port", "0", "--hub", hub)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"realtime: the hub {hub} cannot be reached: ")


def test_a_host_that_is_not_ours_is_one_line_and_exit_1() -> None:
    result = run("--port", "0", "--hub", "memory", "--host", "192.0.2.1")  # RFC 5737: nobody's
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_whoever_follows_is_told_that_the_server_goes(number: signal.Signals) -> None:
    with Server("--hub", "memory") as server:
        async with CLIENTS["websocket"](server.url, "lobby", after="now") as client:
            server.stop(number)
            with pytest.raises(Closed) as closed:
                async with asyncio.timeout(10):
                    await client.receive()
    assert closed.value.code == 1012  # "service restart", in the IANA registry of close codes
