"""Publishing by POST: repeatable, and every rejection has its code and status."""

import uuid
from typing import Any

from realtime.client import get_json, post, request
from tests.cases import each


async def published(server: Any, room: str) -> list[Any]:
    response = await get_json(server.url, f"/rooms/{room}/short_polling")
    return list(response["events"])


async def test_a_message_is_answered_with_its_cursor(server: Any, room: str) -> None:
    id = str(uuid.uuid4())
    response = await post(server.url, room, id=id, client="ada", name="Ada", text="hi", sent=12.5)
    assert response.status == 201
    [event] = await published(server, room)
    assert response.json() == {"cursor": event["cursor"], "id": id}
    assert {key: event[key] for key in ("kind", "client", "name", "text", "via", "sent")} == {
        "kind": "say",
        "client": "ada",
        "name": "Ada",
        "text": "hi",
        "via": "post",
        "sent": 12.5,
    }


async def test_a_repeated_message_is_published_once(server: Any, room: str) -> None:
    id = str(uuid.uuid4())
    first = await post(server.url, room, id=id, text="once")
    again = await post(server.url, room, id=id.upper(), text="once")
    assert (first.status, again.status) == (201, 200)
    assert again.json()["cursor"] == first.json()["cursor"]
    assert [event["text"] for event in await published(server, room)] == ["once"]


async def test_text_alone_is_enough(server: Any, room: str) -> None:
    response = await post(server.url, room, text="x")
    assert response.status == 201
    [event] = await published(server, room)
    assert uuid.UUID(event["id"])
    assert (event["client"], event["name"], event["sent"]) == (None, None, None)


@each(
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
async def test_an_invalid_message_is_a_named_error(
    server: Any, room: str, body: bytes, status: int, code: str
) -> None:
    response = await request(server.url, "POST", f"/rooms/{room}/messages", body)
    assert (response.status, response.json()["error"]["code"]) == (status, code)
    assert await published(server, room) == []


async def test_a_huge_body_is_rejected_before_it_arrives(server: Any, room: str) -> None:
    head = {"Content-Length": "9999999999"}
    response = await request(server.url, "POST", f"/rooms/{room}/messages", None, head)
    assert (response.status, response.json()["error"]["code"]) == (413, "too_long")


async def test_a_client_that_is_too_fast_receives_a_time_to_wait(servers: Any, room: str) -> None:
    slow = servers.get("memory", "--messages-per-second", "0.01", "--message-burst", "2")
    responses = [await post(slow.url, room, text="x", client=room) for _ in range(3)]
    assert [response.status for response in responses] == [201, 201, 429]
    assert responses[2].json()["error"]["code"] == "too_fast"
    assert int(responses[2].head.fields["retry-after"]) >= 1
    assert (await post(slow.url, room, text="x", client=f"other-{room}")).status == 201
