"""What a lecturer needs to direct a class: the plan, commands to the pages, and their traffic."""

import json
from pathlib import Path
from typing import Any

import pytest

from realtime.client import CLIENTS, Refused, get_json, post, request
from realtime.client.sansio import client_id
from realtime.web.plan import default_plan
from tests.cli.command_line import run
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.readers import reader, take, texts

KEY = "sesame"


@pytest.fixture(scope="module")
def school(servers: Servers) -> Server:
    return servers.get("memory", "--key", KEY)


async def direct(server: Server, room: str, text: str, key: str = KEY) -> Any:
    body = json.dumps({"text": text}).encode()
    return await request(server.url, "POST", f"/class/{room}/messages?key={key}", body=body)


async def test_the_server_offers_the_plan_that_it_was_started_with(
    school: Server, tmp_path: Path
) -> None:
    assert await get_json(school.url, f"/plan?key={KEY}") == json.loads(default_plan())
    plan = {"steps": [{"minutes": 5, "title": "Only one", "show": "join"}]}
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan))
    with Server("--hub", "memory", "--plan", str(file)) as server:
        assert await get_json(server.url, "/plan") == plan


async def test_only_with_the_key_the_plan_has_the_notes_and_the_answers(school: Server) -> None:
    plan = await get_json(school.url, "/plan")
    assert len(plan["steps"]) == len(json.loads(default_plan())["steps"])
    assert not any(field in step for step in plan["steps"] for field in ("notes", "answer"))
    response = await request(school.url, "GET", "/plan?key=wrong")
    assert (response.status, response.json()["error"]["code"]) == (403, "bad_key")


def test_a_wrong_plan_ends_the_start_with_its_line_and_field(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text('{"steps": [\n{"minutes": "5"}]}')
    result = run("--plan", str(file))
    assert (result.returncode, result.stdout) == (1, "")
    assert f"--plan {file}, line 2: steps[1].minutes must be a number" in result.stderr
    for wrong in (b"\xff", None):
        file.write_bytes(wrong) if wrong else file.unlink()
        assert run("--plan", str(file)).returncode == 1


async def test_only_the_holder_of_the_key_directs_a_class(school: Server, room: str) -> None:
    commands = f"{room}.class"
    async with reader(school, "websocket", commands) as phone:
        assert (await direct(school, commands, "a command")).status == 201
        assert texts(await take(phone, 1)) == ["a command"]
    for key in ("", "wrong"):
        answer = await direct(school, commands, "forged", key)
        assert (answer.status, answer.json()["error"]["code"]) == (403, "bad_key")


async def test_only_the_holder_of_the_key_speaks_as_the_lecturer(
    servers: Servers, room: str
) -> None:
    """The messages of an experiment; muting everybody does not stop them."""
    school = servers.get("memory", "--key", KEY, "--access", "class")
    muted = f"/rooms/{room}/rules/muted/*?key={KEY}"
    assert (await request(school.url, "PUT", muted)).status == 204
    assert (await direct(school, room, "1")).status == 201
    forged = json.dumps({"text": "1", "via": "lecturer", "client": "eve"}).encode()
    await request(school.url, "DELETE", muted)
    answer = await request(school.url, "POST", f"/rooms/{room}/messages", body=forged)
    assert (answer.status, answer.json()["error"]["code"]) == (403, "lecturers_only")
    (event,) = (await get_json(school.url, f"/rooms/{room}/short_polling"))["events"]
    assert (event["via"], event["client"], event["text"]) == ("lecturer", None, "1")


@pytest.mark.parametrize("transport", CLIENTS)
async def test_no_transport_publishes_a_command(school: Server, room: str, transport: str) -> None:
    commands = f"{room}.class"
    async with CLIENTS[transport](school.url, commands, client="eve", name="Eve") as eve:
        with pytest.raises(Refused) as refused:
            await eve.send("forged")
    assert refused.value.code == "lecturers_only"
    page = await get_json(school.url, f"/rooms/{commands}/short_polling")
    assert "forged" not in texts(page["events"])


async def test_the_traffic_of_a_class_is_that_of_its_members(school: Server, room: str) -> None:
    path = f"/class/{room}/traffic"
    member = reader(school, "sse", room, client=f"ada-{room}", name="Ada")
    listener = reader(school, "sse", room)  # without a name it is no member
    async with member as ada, listener:
        await post(school.url, room, text="hello", client=f"ada-{room}")
        await take(ada, 2)
        report = await get_json(school.url, f"{path}?key={KEY}")
    assert report["silent"] == 0
    (row,) = report["members"]
    assert (row["client"], row["via"]) == (f"ada-{room}", "sse")
    assert row["traffic"]["sse"]["requests"] == 1
    assert row["traffic"]["sse"]["events"] == 2
    assert row["traffic"]["messages"]["requests"] == 1
    for query in ("", "?key=wrong"):
        refused = await request(school.url, "GET", path + query)
        assert (refused.status, refused.json()["error"]["code"]) == (403, "bad_key")


async def test_the_key_does_not_make_its_holder_another_client(school: Server, room: str) -> None:
    secret, path = "the secret of a student", f"/class/{room}.class/messages?key={KEY}"
    fields = {"text": "{}", "client": client_id(secret)}

    async def direct_as(**more: str) -> int:
        body = json.dumps({**fields, **more}).encode()
        return (await request(school.url, "POST", path, body=body)).status

    assert await direct_as() == 403
    assert await direct_as(secret="another") == 403
    assert await direct_as(secret=secret) == 201
