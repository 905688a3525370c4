"""Faults on request: who may inject them, into what, and that everything recovers."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from realtime import errors
from realtime.client import get_json, request
from realtime.web.faults import Control, FaultControls, Injected, SystemState, freeze_and_kill
from realtime.web.lab import KeyCheck
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import Raw

KEY = "the-lecturer"
OPTIONS = ("--fault-controls", "--key", KEY)
SECONDS = 40


@pytest.fixture
def in_memory(servers: Servers) -> Server:
    return servers.get("memory", *OPTIONS)


async def inject(url: str, kind: str, target: str, **values: Any) -> Any:
    query = "&".join(f"{name}={value}" for name, value in ({"key": KEY} | values).items())
    return await request(url, "POST", f"/faults?kind={kind}&target={target}&{query}")


async def until_healed(url: str, number: int) -> Any:
    """Return the fault with this number when its part works again."""
    async with asyncio.timeout(SECONDS):
        while True:
            for fault in (await get_json(url, "/faults"))["faults"]:
                if fault["number"] == number and fault["state"] == "healed":
                    return fault
            await asyncio.sleep(0.05)


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def process_state(pid: int) -> str:
    """Return the state of a process as in proc(5): T is stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def until_state(pid: int, *states: str) -> None:
    async with asyncio.timeout(SECONDS):
        while process_state(pid) not in states:
            await asyncio.sleep(0.01)


# --- who may -------------------------------------------------------------------------------------


async def answer_bytes(server: Server, method: str, path: str) -> tuple[list[str], bytes]:
    async with Raw(server) as client:
        client.send(
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n".encode()
        )
        client.send(b"Content-Length: 0\r\n\r\n")
        head = [line for line in await client.head() if not line.startswith("Date")]
        return head, await client.rest()


async def test_without_the_option_the_url_does_not_exist(servers: Servers) -> None:
    server = servers.get("memory", "--key", KEY)
    for method in ("GET", "POST"):
        unknown = await answer_bytes(server, method, "/nothing")
        assert unknown[0][0] == "HTTP/1.1 404 Not Found"
        path = f"/faults?kind=close&target=clients&key={KEY}"
        assert await answer_bytes(server, method, path) == unknown


@pytest.mark.parametrize("key", ["", "wrong", "%FF"])
async def test_a_fault_needs_the_lecturer_s_key(in_memory: Server, key: str) -> None:
    answer = await inject(in_memory.url, "close", "clients", key=key)
    assert (answer.status, answer.json()["error"]["code"]) == (403, "bad_key")
    assert (await get_json(in_memory.url, "/faults"))["faults"] == []


async def test_a_page_of_another_site_injects_nothing(in_memory: Server) -> None:
    path = f"/faults?kind=close&target=clients&key={KEY}"
    headers = {"Origin": "http://evil.example"}
    answer = await request(in_memory.url, "POST", path, headers=headers)
    assert (answer.status, answer.json()["error"]["code"]) == (403, "foreign_origin")


async def test_wrong_keys_are_limited(servers: Servers) -> None:
    server = servers.get("memory", *OPTIONS, "--wrong-keys-per-minute", "1")
    codes = [
        (await inject(server.url, "close", "clients", key=key)).json()["error"]["code"]
        for key in ("wrong", "wrong-again")
    ]
    assert codes == ["bad_key", "too_fast"]


# --- the parts -----------------------------------------------------------------------------------


class Sleeper:
    """A process that we started."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"])
        self.pid: int | None = self.process.pid

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


async def _yes() -> bool:
    return True


async def _look() -> SystemState:
    return SystemState()


async def test_closing_the_controls_ends_every_fault_at_once() -> None:
    sleeper = Sleeper()
    controls = FaultControls(KeyCheck(KEY, 6), _look)
    for control in freeze_and_kill("sleeper", sleeper, _yes):
        controls.add(control)
    await controls.inject("freeze", "sleeper", 30, "127.0.0.1")
    await until_state(sleeper.process.pid, "T")
    await controls.close()
    await until_state(sleeper.process.pid, "S", "R")
    with pytest.raises(errors.Busy):
        await controls.inject("freeze", "sleeper", 30, "127.0.0.1")
    sleeper.stop()


async def test_a_process_that_does_not_run_has_no_faults() -> None:
    sleeper = Sleeper()
    sleeper.stop()
    sleeper.pid = None
    controls = FaultControls(KeyCheck(KEY, 6), _look)
    controls.add(freeze_and_kill("sleeper", sleeper, _yes)[1])
    for _ in range(2):  # a refused fault leaves nothing behind
        with pytest.raises(errors.TargetBusy, match="not running"):
            await controls.inject("kill", "sleeper", 5, "127.0.0.1")
    assert controls.report()["faults"] == []


async def test_the_report_shows_a_part_that_does_not_recover(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def begin(_: float) -> Injected:
        return Injected(lambda: None, _no)

    async def _no() -> bool:
        return False

    monkeypatch.setattr("realtime.web.faults._HEAL_SECONDS", 0.01)
    controls = FaultControls(KeyCheck(KEY, 6), _look)
    controls.add(Control("kill", "part", begin))
    fault = await controls.inject("kill", "part", 5, "127.0.0.1")
    async with asyncio.timeout(SECONDS):
        while fault.state != "failed":
            await asyncio.sleep(0)
    await controls.close()
