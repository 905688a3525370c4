"""The conversation: it comes through the public API, in two languages, and stops as it was told."""

import subprocess
import sys

import pytest

from benchmarks.clients import CLIENTS, get_json
from realtime.cli.demo_traffic import CONVERSATION
from tests.server_process import ROOT, Server


def talk(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "realtime", "talk", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=ROOT)


async def test_so_many_messages_are_said_in_the_room() -> None:
    with Server("--hub", "memory") as server:
        result = talk("--url", server.url, "--room", "聊天室", "--rate", "200", "--count", "5")
        assert (result.returncode, result.stderr) == (0, "")
        answer = await get_json(server.url, "/rooms/%E8%81%8A%E5%A4%A9%E5%AE%A4/short_polling")
    said = [(event["name"], event["text"]) for event in answer["events"]]
    assert said == list(CONVERSATION[:5])
    assert {event["via"] for event in answer["events"]} == {"talk"}


def test_a_server_that_asks_for_patience_gets_it() -> None:
    with Server("--hub", "memory", "--messages-per-second", "5", "--message-burst", "1") as server:
        assert talk("--url", server.url, "--rate", "500", "--count", "9").returncode == 0


def test_no_server_is_one_line_and_exit_1() -> None:
    result = talk("--url", "http://127.0.0.1:1", "--rate", "100")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)


def test_a_room_that_cannot_be_is_one_line_and_exit_1() -> None:
    with Server("--hub", "memory") as server:
        result = talk("--url", server.url, "--room", "a b", "--rate", "100")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)


def test_a_rate_of_nothing_is_refused() -> None:
    assert talk("--rate", "0").returncode == 1


async def test_nothing_is_said_when_nothing_is_to_be_said() -> None:
    with Server("--hub", "memory") as server:
        assert talk("--url", server.url, "--count", "0").returncode == 0
        assert (await get_json(server.url, "/rooms"))["rooms"] == []


def test_another_address_that_is_no_server_of_ours_is_named() -> None:
    with Server("--hub", "memory") as server:
        result = talk("--url", server.url + "/healthz", "--rate", "100")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert f"{server.url}/healthz" in result.stderr


async def test_a_server_that_stops_meanwhile_is_one_line_and_exit_1() -> None:
    with Server("--hub", "memory") as server:
        async with CLIENTS["websocket"](server.url, "lobby") as reader:
            command = [sys.executable, "-m", "realtime", "talk", "--url", server.url]
            talking = subprocess.Popen(
                [*command, "--rate", "100"], stderr=subprocess.PIPE, text=True, cwd=ROOT
            )
            await reader.receive()
            server.process.terminate()
            server.process.wait(20)
        _, complaints = talking.communicate(timeout=20)
    assert (talking.returncode, complaints.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--url", "foo"),
        ("--url", "http://[::1"),
        ("--url", "http://127.0.0.1:1"),
        ("--rate", "nan"),
        ("--rate", "inf"),
        ("--count", "-1"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_it(wrong: tuple[str, str]) -> None:
    result = talk("--rate", "100", *wrong)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert wrong[1] in result.stderr or wrong[0] in result.stderr
