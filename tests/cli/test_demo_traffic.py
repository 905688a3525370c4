"""Demo traffic: it comes through the public API, in two languages, and stops when asked."""

import asyncio
from urllib.parse import quote

import pytest

from realtime.cli.demo_traffic import SCRIPT
from realtime.client import CLIENTS, get_json
from tests.cli.command_line import Result, run
from tests.conftest import Servers
from tests.server_process import Server


async def talk(*arguments: str) -> Result:
    """Run it in a thread, since this one has an event loop already."""
    return await asyncio.to_thread(run, "talk", *arguments)


@pytest.fixture
def server(servers: Servers) -> Server:
    return servers.get("memory", "--messages-per-second", "0")


async def test_it_sends_that_many_messages_to_the_room(server: Server, room: str) -> None:
    room = f"聊天室-{room}"
    result = await talk("--url", server.url, "--room", room, "--rate", "200", "--count", "5")
    assert (result.returncode, result.stderr) == (0, "")
    page = await get_json(server.url, f"/rooms/{quote(room)}/short_polling")
    assert [(event["name"], event["text"]) for event in page["events"]] == list(SCRIPT[:5])
    assert {event["via"] for event in page["events"]} == {"talk"}


async def test_it_waits_when_the_server_asks_for_that(room: str) -> None:
    with Server("--hub", "memory", "--messages-per-second", "5", "--message-burst", "1") as server:
        result = await talk("--url", server.url, "--rate", "500", "--count", "9")
        assert (result.returncode, result.stderr) == (0, "")


async def test_without_messages_to_send_it_sends_none(server: Server, room: str) -> None:
    result = await talk("--url", server.url, "--room", room, "--count", "0")
    assert result.returncode == 0
    assert room not in str(await get_json(server.url, "/rooms"))


async def test_another_address_of_the_server_is_named(server: Server) -> None:
    result = await talk("--url", server.url + "/healthz", "--rate", "100")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert f"{server.url}/healthz" in result.stderr


async def test_a_room_with_a_wrong_name_is_one_line_and_exit_1(server: Server) -> None:
    result = await talk("--url", server.url, "--room", "a b", "--rate", "100")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)


async def test_a_server_that_stops_meanwhile_is_one_line_and_exit_1() -> None:
    with Server("--hub", "memory", "--drain-seconds", "0.3") as server:
        async with CLIENTS["websocket"](server.url, "lobby") as reader:
            talking = asyncio.create_task(talk("--url", server.url, "--rate", "100"))
            await reader.receive()
            server.process.terminate()
            await server.ended()
        result = await talking
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--url", "foo"),
        ("--url", "http://[::1"),
        ("--url", "http://127.0.0.1:1"),
        ("--rate", "0"),
        ("--rate", "nan"),
        ("--rate", "inf"),
        ("--count", "-1"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(wrong: tuple[str, str]) -> None:
    result = run("talk", "--rate", "100", *wrong)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert wrong[1] in result.stderr or wrong[0] in result.stderr
