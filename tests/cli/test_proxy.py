"""`realtime proxy`: a real process that forwards, and options that are refused by name."""

import asyncio
import signal
import socket
import subprocess
import sys

import pytest

from realtime.client import CLIENTS, get_json
from tests.cli.command_line import run
from tests.conftest import Servers
from tests.netem.datagrams import udp_client, udp_server
from tests.server_process import ROOT
from tests.transports.readers import say, take, texts


@pytest.mark.parametrize(
    ("host", "number"), [("127.0.0.1", signal.SIGINT), ("::1", signal.SIGTERM)]
)
async def test_it_forwards_until_a_signal_ends_it(
    servers: Servers, room: str, host: str, number: signal.Signals
) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    command = [sys.executable, "-m", "realtime", "proxy", "--target", server.url]
    command += ["--host", host, "--port", "0"]
    process = subprocess.Popen(
        [*command, "--network", "rtt=0.04s,jitter=1ms", "--seed", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    line = await asyncio.to_thread(process.stdout.readline)
    url = line.split()[3]
    network = "(network: rtt=40ms,jitter=1ms)"
    assert url.startswith("http://[::1]:" if host == "::1" else "http://127.0.0.1:")
    assert line == f"realtime: proxy on {url} to {server.url}/ {network}\n"
    started = asyncio.get_running_loop().time()
    assert (await get_json(url, "/healthz"))["status"] == "ok"
    assert asyncio.get_running_loop().time() - started >= 0.075
    async with CLIENTS["websocket"](url, room) as client:  # with a Host that is the proxy's
        await say(client, "one")
        assert texts(await take(client, 1)) == ["one"]
        process.send_signal(number)
        rest = await asyncio.to_thread(process.communicate, None, 20)
    assert (process.returncode, *rest) == (0, "", "")


async def test_it_forwards_udp_at_the_same_port() -> None:
    async with udp_server() as server:
        command = [sys.executable, "-m", "realtime", "proxy", "--port", "0"]
        command += ["--udp", str(server.address[1]), "--network", "rtt=20ms"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        port = int(line.split()[3].rstrip("/").rpartition(":")[2])
        async with udp_client(port) as client:
            assert await client.exchange() >= 0.02
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.communicate, None, 20)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--network", "rtt=100"),
        ("--network", "speed=3"),
        ("--network", "loss=60%"),
        ("--udp", "0"),
        ("--target", "127.0.0.1:8000"),
        ("--target", "https://127.0.0.1:8000"),
        ("--target", "http://127.0.0.1:99999"),
        ("--target", "http://127.0.0.1:8000/rooms"),
        ("--target", "http://127.0.0.1:8000/?x"),
        ("--target", "http://ada@127.0.0.1:8000"),
        ("--target", "http://"),
        ("--seed", "x"),
    ],
)
def test_a_wrong_option_is_named_with_exit_status_2(option: str, value: str) -> None:
    result = run("proxy", "--port", "0", option, value)
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 2
    assert last.startswith(f"realtime proxy: error: argument {option}")
    assert value in last


def test_a_port_in_use_is_one_line_and_exit_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("proxy", "--port", str(taken.getsockname()[1]))
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "in use" in result.stderr


def test_the_help_names_every_network_condition() -> None:
    shown = run("proxy", "--help").stdout
    names = ("rtt", "jitter", "rate", "loss", "reorder", "buffer", "flush", "idle", "stall", "cut")
    assert [name for name in names if f"{name}=" not in shown] == []
