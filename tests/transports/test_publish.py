"""The way up: one POST per message, repeatable, and every refusal with its name and status."""

import uuid
from typing import Any

import pytest

from benchmarks.clients import get_json, post, request


async def said(server: Any, room: str) -> list[Any]:
    answer = await get_json(server.url, f"/rooms/{room}/short_polling")
    return list(answer["events"])


async def test_a_message_is_answered_with_its_place(server: Any, room: str) -> None:
    id = str(uuid.uuid4())
    answer = await post(server.url, room, id=id, client="ada", name="Ada", text="hi", sent=12.5)
    assert answer.status == 201
    [event] = await said(server, room)
    assert answer.json() == {"cursor": event["cursor"], "id": id}
    assert {key: event[key] for key in ("kind", "client", "name", "text", "via", "sent")} == {
        "kind": "say",
        "client": "ada",
        "name": "Ada",
        "text": "hi",
        "via": "post",
        "sent": 12.5,
    }


async def test_a_repeated_message_is_said_once(server: Any, room: str) -> None:
    id = str(uuid.uuid4())
    first = await post(server.url, room, id=id, text="once")
    again = await post(server.url, room, id=id.upper(), text="once")
    assert (first.status, again.status) == (201, 200)
    assert again.json()["cursor"] == first.json()["cursor"]
    assert [event["text"] for event in await said(server, room)] == ["once"]


async def test_text_alone_is_enough(server: Any, room: str) -> None:
    answer = await post(server.url, room, text="x")
    assert answer.status == 201
    [event] = await said(server, room)
    assert uuid.UUID(event["id"])
    assert (event["client"], event["name"], event["sent"]) == (None, None, None)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"[]", 400, "bad_json"),
        (b'{"text":"\xff"}', 400, "bad_json"),
        (b'{"text":"x","sent":NaN}', 400, "bad_json"),
        (b"[" * 16_000, 400, "bad_json"),
        (b'{"text":""}', 400, "bad_text"),
        (b'{"text":5}', 400, "bad_text"),
        (b'{"text":"\\ud800"}', 400, "bad_text"),
        (b'{"text":"x","name":"\\u0000"}', 400, "bad_name"),
        (b'{"text":"x","client":"a b"}', 400, "bad_client"),
        (b'{"text":"x","id":"1"}', 400, "bad_id"),
        (b'{"text":"x","sent":true}', 400, "bad_sent"),
        (b'{"text":"x","via":""}', 400, "bad_via"),
        (b'{"text":"' + b"x" * 4097 + b'"}', 413, "too_long"),
        (b'{"text":"' + b"x" * 100_000 + b'"}', 413, "too_long"),
    ],
)
async def test_a_bad_message_is_refused_by_name(
    server: Any, room: str, body: bytes, status: int, code: str
) -> None:
    answer = await request(server.url, "POST", f"/rooms/{room}/messages", body)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)
    assert await said(server, room) == []


async def test_a_body_beyond_all_measure_is_refused_before_it_comes(server: Any, room: str) -> None:
    head = {"Content-Length": "9999999999"}
    answer = await request(server.url, "POST", f"/rooms/{room}/messages", None, head)
    assert (answer.status, answer.json()["error"]["code"]) == (413, "too_long")


async def test_who_speaks_too_fast_is_told_how_long_to_wait(
    servers: Any, hub: str, room: str
) -> None:
    slow = servers.get(hub, "--messages-per-second", "0.01", "--message-burst", "2")
    answers = [await post(slow.url, room, text="x", client=room) for _ in range(3)]
    assert [answer.status for answer in answers] == [201, 201, 429]
    assert answers[2].json()["error"]["code"] == "too_fast"
    assert int(answers[2].head.fields["retry-after"]) >= 1
    assert (await post(slow.url, room, text="x", client=f"other-{room}")).status == 201
