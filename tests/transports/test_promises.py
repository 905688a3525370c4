"""What we promise, written once and tested with every transport over every hub.

One total order per room.  Every acknowledged message reaches every reader, and is shown once.
Outside of the window a reader receives `gap`, never silence.  Every error has a code, and affects
nobody else.
"""

import asyncio
import json
import signal
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from realtime.client import ALL_CLIENTS, CLIENTS, Client, Closed, Refused, get_json, post, request
from tests.cases import each
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.readers import (
    LIBRARIES,
    epoch_of,
    number_of,
    numbers,
    reader,
    say,
    say_in,
    take,
    take_until,
    texts,
)

Test = Callable[..., Awaitable[None]]
_OVER_TLS: set[str] = set()


def also_over_tls(test: Test) -> Test:
    """Mark a promise that depends on how bytes are written and how connections end."""
    _OVER_TLS.add(test.__name__)
    return test


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Test every promise over every hub with every transport, and some over TLS as well."""
    given = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "hub" in metafunc.fixturenames and not any("hub" in names for names in given):
        tls = ["tls"] if metafunc.function.__name__ in _OVER_TLS else []
        metafunc.parametrize("hub", ["memory", "redis", *tls])
    if "transport" in metafunc.fixturenames and not any("transport" in names for names in given):
        metafunc.parametrize("transport", ALL_CLIENTS)


STREAMS = [name for name in ALL_CLIENTS if not name.endswith("polling")]
# Their messages are sent and acknowledged in frames, which have no HTTP status.
FRAMED = {"websocket", "sockjs", "socketio", "webtransport"}

# So small and short that a test can leave the window, receive a response that is cut, fill the room
# with joins, and wait for a quit.
SMALL = (
    *("--history-events", "20", "--answer-events", "7", "--messages-per-second", "0"),
    *("--presence-events", "5", "--lease-seconds", "1", "--grace-seconds", "0.2"),
)
# A rate that a test can exceed, and a grace period that it can await.
SLOW = ("--messages-per-second", "0.01", "--message-burst", "3", "--grace-seconds", "0.2")


def words(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


# --- one order for all ---------------------------------------------------------------------------


@also_over_tls
async def test_readers_of_all_transports_receive_every_message_once_in_one_order(
    server: Server, room: str
) -> None:
    count = 20 * len(ALL_CLIENTS)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(reader(server, transport, room))
            for transport in ALL_CLIENTS
        ]
        sending = [say(c, *(f"{c.transport} {n}" for n in range(20))) for c in clients]
        publishing = asyncio.gather(*sending)
        one, *others = await asyncio.gather(*(take(client, count) for client in clients))
        await publishing
    assert all(other == one for other in others)
    assert numbers(one) == list(range(1, count + 1))
    assert {e["text"] for e in one} == {f"{t} {n}" for t in ALL_CLIENTS for n in range(20)}


async def test_the_acknowledged_cursor_is_the_position_in_that_order(
    server: Server, room: str, transport: str
) -> None:
    async with reader(server, transport, room) as client:
        acknowledged = await say(client, *words(1, 5))
        events = await take(client, 5)
    assert [event["cursor"] for event in events] == acknowledged
    assert texts(events) == words(1, 5)


async def test_an_event_has_exactly_the_fields_of_the_contract(
    server: Server, room: str, transport: str
) -> None:
    id = str(uuid.uuid4())
    async with reader(server, transport, room) as client:
        # A message can carry a client and a name without membership.
        receipt = await client.send("hello", id=id, client="me", name="聊 天", sent=1234.5)
        (event,) = await take(client, 1)
    published = event.pop("published")
    assert isinstance(published, int)
    assert event == {
        "kind": "say",
        "cursor": receipt["cursor"],
        "id": id,
        "client": "me",
        "name": "聊 天",
        "text": "hello",
        "via": transport,
        "sent": 1234.5,
    }


# --- resuming ------------------------------------------------------------------------------------


@also_over_tls
async def test_a_disconnected_reader_resumes_by_its_cursor_without_loss_or_duplicates(
    server: Server, room: str, transport: str
) -> None:
    cut = reader(server, transport, room)
    await cut.open()
    await say_in(server, room, *words(1, 5))
    assert texts(await take(cut, 3)) == words(1, 3)
    cut.abort()
    await say_in(server, room, *words(6, 8))
    async with reader(server, transport, room, after=cut.cursor) as resumed:
        await say_in(server, room, "9")
        assert texts(await take(resumed, 6)) == words(4, 9)


async def test_a_cursor_of_any_transport_is_valid_in_any_other(
    server: Server, room: str, transport: str
) -> None:
    await say_in(server, room, *words(1, 4))
    async with reader(server, transport, room) as client:
        await take(client, 2)
    for other in ALL_CLIENTS:
        async with reader(server, other, room, after=client.cursor) as resumed:
            assert texts(await take(resumed, 2)) == words(3, 4)


async def test_after_now_starts_from_here(server: Server, room: str, transport: str) -> None:
    await say_in(server, room, "before")
    async with reader(server, transport, room, after="now") as client:
        await say_in(server, room, "after")
        assert texts(await take(client, 1)) == ["after"]


async def test_without_a_cursor_the_last_50_events_come_first(
    server: Server, room: str, transport: str
) -> None:
    await say_in(server, room, *words(1, 60))
    async with reader(server, transport, room) as client:
        await say_in(server, room, "61")
        assert texts(await take(client, 51)) == words(11, 61)


async def test_an_empty_room_has_a_cursor_to_start_from(
    server: Server, room: str, transport: str
) -> None:
    async with reader(server, transport, room) as client:
        await say_in(server, room, "first")
        (event,) = await take(client, 1)
    assert (event["text"], number_of(event["cursor"])) == ("first", 1)


# --- gaps ----------------------------------------------------------------------------------------


async def test_a_cursor_outside_of_the_window_receives_the_number_of_missed_events(
    servers: Servers, hub: str, room: str, transport: str
) -> None:
    server = servers.get(hub, *SMALL)
    cursors = await say_in(server, room, *words(1, 30))
    async with reader(server, transport, room, after=cursors[2]) as client:
        gap = await client.receive()  # so it has read the window, before that moves on
        await say_in(server, room, "31")
        events = await take(client, 21)
    # 4 to 10 have left the window of 20 events; the later ones are complete.
    assert gap | {"reason": "trimmed", "missed": 7, "kind": "gap"} == gap
    assert texts(events) == words(11, 31)


async def test_the_oldest_cursor_that_still_continues_receives_no_gap(
    servers: Servers, hub: str, room: str, transport: str
) -> None:
    server = servers.get(hub, *SMALL)
    cursors = await say_in(server, room, *words(1, 30))
    async with reader(server, transport, room, after=cursors[9]) as client:
        assert texts(await take(client, 20)) == words(11, 30)


async def test_a_reader_that_stopped_at_a_gap_resumes_with_what_is_kept(
    servers: Servers, hub: str, room: str, transport: str
) -> None:
    server = servers.get(hub, *SMALL)
    cursors = await say_in(server, room, *words(1, 30))
    async with reader(server, transport, room, after=cursors[0]) as client:
        (gap,) = await take(client, 1)
    assert client.cursor == gap["cursor"]
    async with reader(server, transport, room, after=client.cursor) as resumed:
        assert texts(await take(resumed, 20)) == words(11, 30)


async def test_a_cursor_of_another_epoch_is_unknown(
    server: Server, room: str, transport: str
) -> None:
    await say_in(server, room, *words(1, 3))
    async with reader(server, transport, room, after="anotherlife-2") as client:
        gap, *events = await take(client, 4)
    assert gap | {"reason": "unknown", "missed": None, "kind": "gap"} == gap
    assert texts(events) == words(1, 3)


async def test_a_cursor_beyond_the_top_receives_a_gap_that_says_rewound(
    server: Server, room: str, transport: str
) -> None:
    *_, top = await say_in(server, room, *words(1, 3))
    beyond = f"{epoch_of(top)}-{number_of(top) + 1}"
    async with reader(server, transport, room, after=beyond) as client:
        gap, *events = await take(client, 4)
    assert gap | {"reason": "rewound", "missed": None, "kind": "gap"} == gap
    assert texts(events) == words(1, 3)


# --- slow readers --------------------------------------------------------------------------------

# More than all buffers hold of a connection that nobody reads, as `say_much` checks.
MANY, LONG = 200, "\0" * 2500  # 15 kB each in JSON


async def say_much(server: Server, room: str, clients: list[Client]) -> None:
    """Publish more than the stream of a client that does not read accepts, and check that."""
    await say_in(server, room, *(f"{n}{LONG}" for n in range(MANY)))
    for client in clients:
        wire = await get_json(server.url, f"/wire?client={client.client}")
        assert wire["transports"][client.transport]["bytes_out"] < MANY * 6 * len(LONG)


@also_over_tls
async def test_streams_that_stop_reading_for_a_while_miss_nothing_and_delay_nobody(
    server: Server, room: str
) -> None:
    async with AsyncExitStack() as stack:
        neighbour = await stack.enter_async_context(reader(server, "websocket", room))
        slow = [reader(server, name, room, client=f"{name}-{room}") for name in STREAMS]
        for client in slow:
            await stack.enter_async_context(client)
        _, lively = await asyncio.gather(
            say_much(server, room, slow), take(neighbour, MANY, seconds=30)
        )
        late = await asyncio.gather(*(take(client, MANY, seconds=30) for client in slow))
    assert numbers(lively) == list(range(1, MANY + 1))
    assert all(events == lively for events in late)


@also_over_tls
async def test_a_stream_that_falls_out_of_the_window_receives_the_exact_gap(
    servers: Servers, hub: str, room: str
) -> None:
    server = servers.get(hub, *SMALL)
    async with AsyncExitStack() as stack:
        slow = [reader(server, name, room, client=f"{name}-{room}") for name in STREAMS]
        for client in slow:
            await stack.enter_async_context(client)
        await say_much(server, room, slow)
        for client in slow:
            seen, missed = 0, 0
            while seen + missed < MANY:
                (event,) = await take(client, 1)
                if event["kind"] == "gap":
                    missed += event["missed"]
                else:
                    seen += 1
                # Events are numbered from 1, so each one is either received or reported as missed.
                assert number_of(event["cursor"]) == seen + missed
            assert missed > 0


# --- repeating -----------------------------------------------------------------------------------


async def test_a_message_is_created_once_and_then_found(server: Server, room: str) -> None:
    id = str(uuid.uuid4())
    first = await post(server.url, room, id=id, text="once")
    again = await post(server.url, room, id=id, text="once")
    assert (first.status, again.status) == (201, 200)
    assert first.json() == again.json() == {"cursor": first.json()["cursor"], "id": id}


async def test_a_message_that_is_sent_twice_is_published_once(
    server: Server, room: str, transport: str
) -> None:
    id, last = str(uuid.uuid4()), str(uuid.uuid4())
    async with reader(server, transport, room) as client:
        first = await client.send("once", id=id)
        assert await client.send("once", id=id) == first
        await client.send("last", id=last)
        assert texts(await take_until(client, last)) == ["once", "last"]


async def test_of_many_concurrent_repeats_one_creates_the_message(
    server: Server, room: str
) -> None:
    id = str(uuid.uuid4())
    answers = await asyncio.gather(*(post(server.url, room, id=id, text="once") for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] * 9 + [201]
    assert len({answer.body for answer in answers}) == 1


# --- two processes -------------------------------------------------------------------------------


async def test_two_servers_on_one_redis_share_their_rooms(
    servers: Servers, room: str, transport: str
) -> None:
    here, there = (servers.get("redis", "--messages-per-second", "0", copy=n) for n in (0, 1))
    async with (
        reader(here, transport, room) as reader_here,
        reader(there, transport, room) as reader_there,
    ):
        await asyncio.gather(say(reader_here, *words(1, 10)), say(reader_there, *words(11, 20)))
        received_here, received_there = await take(reader_here, 20), await take(reader_there, 20)
    assert received_here == received_there
    assert sorted(map(int, texts(received_here))) == list(range(1, 21))


async def test_a_cursor_is_valid_at_another_server_that_never_read_the_room(
    servers: Servers, room: str, transport: str
) -> None:
    here, there = (servers.get("redis", "--messages-per-second", "0", copy=n) for n in (0, 1))
    cursors = await say_in(here, room, *words(1, 3))
    async with reader(there, transport, room, after=cursors[0]) as client:
        assert texts(await take(client, 2)) == words(2, 3)


# --- texts arrive unchanged ----------------------------------------------------------------------

HARD = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\"'&amp;&quot;&lt;&#34;`\\\\u0041",
    "line\nbreak\r\nand\rreturn\ttab",
    "data: x\n\nid: 1\nevent: y",
    "\u2028\u2029\u0085\ufeff\u200b",
    "\0\x01\x1b[31m\x7f\x9f",
    "😀👩\u200d👩\u200d👧 e\u0301 é",
    "\u202eשלום עליכם\u202c العربية",
    "\U0010ffff\ufffe\uffff\ue000",
    " ",
    "null",
    "聊" * 1365 + "!",  # 4096 bytes, the longest
    "\0" * 2500,  # six times as long in JSON
]


@also_over_tls
async def test_hard_texts_arrive_unchanged(server: Server, room: str, transport: str) -> None:
    async with reader(server, transport, room) as client:
        await say(client, *HARD)
        assert texts(await take(client, len(HARD))) == HARD


async def test_a_room_name_can_use_any_script(server: Server, transport: str) -> None:
    room = f"聊天室-नमस्ते.ไทย_{uuid.uuid4().hex[:8]}"
    async with reader(server, transport, room, client="me", name="聊 & <天>") as client:
        await client.send("hello")
        join, said = await take(client, 2)
    assert (join["name"], said["text"]) == ("聊 & <天>", "hello")


# --- named errors --------------------------------------------------------------------------------


@each(
    ("options", "code"),
    [
        ({"room": "no spaces"}, "bad_room"),
        ({"room": "x" * 65}, "bad_room"),
        ({"room": "a/b"}, "bad_room"),
        ({"after": "yesterday"}, "bad_cursor"),
        ({"after": "epoch--1"}, "bad_cursor"),
        ({"after": "epoch-9999999999999999999"}, "bad_cursor"),
        ({"client": "no spaces"}, "bad_client"),
        ({"client": "me", "name": "x" * 33}, "bad_name"),
        ({"client": "me", "name": "a\nb"}, "bad_name"),
    ],
)
async def test_an_invalid_subscription_is_a_named_error(
    servers: Servers, room: str, transport: str, options: dict[str, str], code: str
) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    query = {"room": room, **options}
    with pytest.raises(Refused) as refused:
        async with reader(server, transport, **query):
            pass
    # The first message of a SockJS session is answered without an HTTP status.
    status = None if transport == "sockjs" else 400
    assert (refused.value.status, refused.value.code) == (status, code)
    assert refused.value.message


@pytest.mark.parametrize(
    ("hub", "transport"), [("memory", "long_polling"), ("redis", "sse"), ("redis", "websocket")]
)
async def test_a_class_that_comes_and_goes_pushes_out_no_message(
    servers: Servers, hub: str, transport: str, room: str
) -> None:
    """More joins than the room keeps events: a reader that was away misses no message."""
    server = servers.get(hub, *SMALL)
    await say_in(server, room, "before")
    async with reader(server, transport, room=room, after=None) as client:
        (first,) = await take(client, 1)
    said = await say_in(server, room, "while away")
    for number in range(30):
        query = f"client=c{number}&name=Bob"
        await get_json(server.url, f"/rooms/{room}/short_polling?{query}")
    async with reader(server, transport, room=room, after=first["cursor"]) as client:
        events = await take(client, 6)
    assert [event["kind"] for event in events] == ["say", *["join"] * 5]
    assert [event["cursor"] for event in events[:1]] == said
    newcomer = await get_json(server.url, f"/rooms/{room}/short_polling")
    texts = [event["text"] for event in newcomer["events"] if event["kind"] == "say"]
    assert texts == ["before", "while away"]


WRONG = [
    (b"{", "bad_json", 400),
    (b"[]", "bad_json", 400),
    (b'{"text":NaN}', "bad_json", 400),
    (b"[" * 10_000, "bad_json", 400),
    (b"{}", "bad_text", 400),
    (b'{"text":""}', "bad_text", 400),
    (b'{"text":7}', "bad_text", 400),
    (b'{"text":"\\ud800"}', "bad_text", 400),
    (b'{"text":"x","id":"seven"}', "bad_id", 400),
    (b'{"text":"x","client":"no spaces"}', "bad_client", 400),
    (b'{"text":"x","name":""}', "bad_name", 400),
    (b'{"text":"x","name":"\\ud800"}', "bad_name", 400),
    (b'{"text":"x","via":"<b>"}', "bad_via", 400),
    (b'{"text":"x","sent":"now"}', "bad_sent", 400),
    (json.dumps({"text": "x" * 4097}).encode(), "too_long", 413),
    (json.dumps({"text": "聊" * 1366}, ensure_ascii=False).encode(), "too_long", 413),
    (json.dumps({"text": "x", "more": "x" * 20_000}).encode(), "too_long", 413),
]


async def test_an_invalid_message_is_a_named_error_and_affects_nobody_else(
    servers: Servers, room: str, transport: str
) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    async with (
        reader(server, transport, room) as client,
        reader(server, transport, room) as neighbour,
    ):
        for body, code, status in WRONG:
            with pytest.raises(Refused) as refused:
                await client.send_body(body)
            # A frame has no status; its connection stays open, like the one of a POST.
            expected = None if transport in FRAMED else status
            assert (refused.value.code, refused.value.status) == (code, expected), body[:60]
        await client.send("right")
        assert texts(await take(client, 1)) == ["right"]
        assert texts(await take(neighbour, 1)) == ["right"]


async def test_a_client_that_is_too_fast_receives_a_time_to_wait_and_others_do_not(
    servers: Servers, room: str, transport: str
) -> None:
    server = servers.get("memory", *SLOW)
    me, you = f"me-{room}", f"you-{room}"
    async with reader(server, transport, room, client=me) as client:
        await say(client, *words(1, 3))
        with pytest.raises(Refused) as refused:
            await client.send("4")
        await client.send("mine", client=you)
        assert texts(await take(client, 4)) == [*words(1, 3), "mine"]
    assert refused.value.code == "too_fast"
    assert refused.value.status == (None if transport in FRAMED else 429)
    # One more token in 100 s, at a rate of 0.01 a second.
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 100


@each(
    ("headers", "code"),
    [
        ({"Origin": "http://evil.example"}, "foreign_origin"),
        ({"Origin": "null"}, "foreign_origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "foreign_origin"),
        ({"Host": "evil.example"}, "foreign_host"),
    ],
)
async def test_a_page_of_another_site_is_rejected(
    servers: Servers, room: str, transport: str, headers: dict[str, str], code: str
) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    with pytest.raises(Refused) as refused:
        async with reader(server, transport, room, headers=headers):
            pass
    assert (refused.value.status, refused.value.code) == (403, code)


async def test_a_page_of_our_own_is_accepted(servers: Servers, room: str, transport: str) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    headers = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    async with reader(server, transport, room, headers=headers) as client:
        await client.send("hello")
        assert texts(await take(client, 1)) == ["hello"]


@pytest.mark.parametrize("transport", CLIENTS)
async def test_a_method_that_an_address_does_not_accept_is_a_named_error(
    servers: Servers, room: str, transport: str
) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    path = LIBRARIES.get(transport, f"/rooms/{room}/{transport}")
    response = await request(server.url, "PUT", path, b"{}")
    assert response.status == 405
    assert response.json()["error"]["code"] == "bad_method"
    assert "GET" in response.head.fields["allow"]  # RFC 9110 §15.5.6


# --- members -------------------------------------------------------------------------------------


async def members(server: Server, room: str) -> list[dict[str, Any]]:
    answer = await get_json(server.url, f"/rooms/{room}/members")
    found: list[dict[str, Any]] = answer["members"]
    return found


def summary(event: dict[str, Any]) -> tuple[str, str, str, str]:
    return event["kind"], event["client"], event["name"], event["via"]


async def test_a_reader_with_a_name_is_a_member_and_joins_once(
    server: Server, room: str, transport: str
) -> None:
    async with (
        reader(server, transport, room) as listener,
        reader(server, transport, room, client="me", name="Ada") as member,
    ):
        expected = {"client": "me", "name": "Ada", "via": transport}
        [join] = await take(listener, 1)  # a WebSocket is open before its client is a member
        assert await members(server, room) == [expected]
        await member.send("hello")
        [said] = await take(listener, 1)
    assert summary(join) == ("join", "me", "Ada", transport)
    assert (said["kind"], said["text"]) == ("say", "hello")
    assert "text" not in join


@pytest.mark.parametrize("options", [{}, {"client": "me"}, {"name": "Ada"}])
async def test_a_reader_without_an_id_and_a_name_only_listens(
    servers: Servers, room: str, transport: str, options: dict[str, str]
) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    async with reader(server, transport, room, **options) as listener:
        assert await members(server, room) == []
        await say_in(server, room, "hello")
        assert texts(await take(listener, 1)) == ["hello"]


@also_over_tls
async def test_a_member_that_disconnects_quits_once(
    servers: Servers, hub: str, room: str, transport: str
) -> None:
    server = servers.get(hub, *SMALL)
    async with reader(server, "websocket", room) as listener:
        gone = reader(server, transport, room, client="me", name="Ada")
        await gone.open()
        (join,) = await take(listener, 1)  # who has gone before is not admitted
        gone.abort()
        (quit,) = await take(listener, 1)
        await listener.send("last")
        (last,) = await take(listener, 1)
        assert await members(server, room) == []
    assert summary(join) == ("join", "me", "Ada", transport)
    assert summary(quit) == ("quit", "me", "Ada", transport)
    assert last["kind"] == "say"


@also_over_tls
async def test_a_member_that_leaves_is_removed_at_once_and_quits_after_the_grace_period(
    servers: Servers, hub: str, room: str, transport: str
) -> None:
    server = servers.get(hub, *SLOW)
    async with reader(server, "websocket", room) as listener:
        member = reader(server, transport, room, client="me", name="Ada")
        await member.open()
        if hub == "tls":
            member.abort()  # asyncio's own close keeps reading for 30 s: it waits for close_notify
        else:
            await member.close()
        left = await request(server.url, "DELETE", f"/rooms/{room}/members/me")
        assert left.status == 204
        # The DELETE counts once the server has noticed the end of the stream.
        async with asyncio.timeout(10):
            while await members(server, room):
                await asyncio.sleep(0.01)
        join, quit = await take(listener, 2)
    assert (join["kind"], quit["kind"], quit["client"]) == ("join", "quit", "me")


async def test_a_reload_within_the_grace_period_is_no_quit_and_join(
    server: Server, room: str, transport: str
) -> None:
    async with reader(server, "websocket", room) as listener:
        for _ in range(2):
            async with reader(server, transport, room, client="me", name="Ada") as member:
                await member.send("here")
            # A server without a grace period would publish a quit in this time.
            await asyncio.sleep(0.1)
        await listener.send("last")
        assert texts(await take(listener, 4)) == ["join", "here", "here", "last"]


async def test_a_member_of_two_servers_joins_and_quits_once(servers: Servers, room: str) -> None:
    here, there = (servers.get("redis", *SMALL, copy=n) for n in (0, 1))
    async with reader(here, "websocket", room) as listener:
        async with (
            reader(here, "sse", room, client="me", name="Ada"),
            reader(there, "sse", room, client="me", name="Ada"),
        ):
            assert len(await members(there, room)) == 1
        join, quit = await take(listener, 2)
        await listener.send("last")
        assert [join["kind"], quit["kind"]] == ["join", "quit"]
        assert texts(await take(listener, 1)) == ["last"]


async def test_a_room_is_listed_with_its_members_and_its_top(server: Server, room: str) -> None:
    async with reader(server, "sse", room, client="me", name="Ada") as member:
        receipt = await member.send("hello")
        rooms = (await get_json(server.url, "/rooms"))["rooms"]
    row = next(row for row in rooms if row["room"] == room)
    assert row == {"room": room, "members": 1, "top": number_of(receipt["cursor"])}


# --- shutdown ------------------------------------------------------------------------------------


@pytest.mark.parametrize("hub", ["redis", "tls"])
async def test_a_server_that_stops_closes_every_stream_as_its_transport_can(
    servers: Servers, hub: str, room: str
) -> None:
    with servers.make(hub, "--drain-seconds", "0.3") as server:
        clients: list[Client] = [reader(server, transport, room) for transport in STREAMS]
        for client in clients:
            await client.open()
        polling = reader(server, "long_polling", room)
        await polling.open()
        poll = asyncio.create_task(polling.receive())
        await say_in(server, room, "hello")
        assert (await poll)["text"] == "hello"
        for client in clients:
            await take(client, 1)
        waiting = asyncio.create_task(polling.receive())
        server.stop(signal.SIGTERM)
        endings = [await ending(client) for client in clients]
        with pytest.raises((ConnectionError, Refused)):
            await waiting
    # An HTTP stream can only end its body; 1012 is "service restart" (IANA).
    assert endings == [*[(None, "the server ended the stream")] * 3, *[(1012, "going_away")] * 4]
    for client in [*clients, polling]:
        await client.close()


async def ending(client: Client) -> tuple[int | None, str]:
    with pytest.raises(Closed) as closed:
        await take(client, 1)
    return closed.value.code, closed.value.reason


@pytest.mark.parametrize("transport", ALL_CLIENTS)
async def test_a_reader_from_now_receives_what_is_published_while_its_stream_starts(
    servers: Servers, room: str, transport: str
) -> None:
    # Its own join is published after `now` was resolved and before its stream follows the room; the
    # memory hub also announces it before that.
    server = servers.get("memory", "--messages-per-second", "0")
    me = {"client": "me", "name": "Me"}
    async with reader(server, transport, room, after="now", **me) as member:
        (join,) = await take(member, 1)
    assert (join["kind"], join["client"]) == ("join", "me")
