"""Who needs sticky routing, and which of them holds: through nginx, to three workers.

The two libraries go by polls here, which is what is left where no WebSocket gets through: then one
session is many requests.
"""

from collections.abc import Iterator

import pytest

from benchmarks.clients import CLIENTS, Client, Refused, get_json, request
from benchmarks.clients.socketio import SocketIOPollingClient
from benchmarks.session import FALLBACKS
from tests.conftest import Redis
from tests.nginx_fixture import Fleet
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import OURS, say_in, take, texts

LIBRARIES = dict(FALLBACKS.values())
VISITS = 10


@pytest.fixture(scope="module", params=["any", "address", "session"])
def fleet(request: pytest.FixtureRequest, redis: Redis) -> Iterator[Fleet]:
    with Fleet(redis.url, "--messages-per-second", "0", count=3, routing=request.param) as fleet:
        yield fleet


async def visited(fleet: Fleet, transport: str) -> list[int]:
    """How many events each worker has told over this transport."""
    rows = [(await get_json(worker.url, "/wire"))["transports"] for worker in fleet.workers]
    return [row.get(transport, {"events": 0})["events"] for row in rows]


async def visit(fleet: Fleet, kind: type[Client], room: str) -> bool:
    """Come, and hear what was said before and what is said now; whether the session held."""
    await say_in(fleet.workers[0], room, "before")
    client = kind(fleet.url, room)
    try:
        await client.open()
        await say_in(fleet.workers[0], room, "now")
        return len(await take(client, 2)) == 2
    except (ConnectionError, Refused):
        return False
    finally:
        client.abort()


@pytest.mark.parametrize("transport", LIBRARIES)
async def test_a_session_of_polls_needs_sticky_routing(
    fleet: Fleet, room: str, transport: str
) -> None:
    before = await visited(fleet, transport)
    held = [await visit(fleet, LIBRARIES[transport], f"{room}-{n}") for n in range(VISITS)]
    after = await visited(fleet, transport)
    busy = sum(now > then for now, then in zip(after, before, strict=True))
    if fleet.routing == "any":
        assert not any(held)  # each of three requests goes to another worker
    else:
        # From one address all are at one worker; by their sessions they spread.
        assert (all(held), busy > 1) == (True, fleet.routing == "session")


@pytest.mark.parametrize("transport", OURS)
async def test_ours_need_none(fleet: Fleet, room: str, transport: str) -> None:
    for turn in range(3):
        assert await visit(fleet, CLIENTS[transport], f"{room}-{turn}")


# --- what a worker is told -----------------------------------------------------------------------

SPOOFED = "X-Forwarded-For: 198.51.100.1"
BODY = b'{"text":"hello"}'


async def test_what_a_client_claims_of_its_address_does_not_reach_a_worker(redis: Redis) -> None:
    options = ("--messages-per-second", "0.001", "--message-burst", "1")
    with Fleet(redis.url, *options, count=1) as fleet:
        said = []
        for claim in ("X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 198.51.100.2"):
            async with Raw(fleet) as raw:  # type: ignore[arg-type]
                fields = ["POST /rooms/lobby/messages HTTP/1.1", "Host: localhost", claim]
                length = f"Content-Length: {len(BODY)}"
                raw.send("\r\n".join([*fields, length, "", ""]).encode() + BODY)
                said.append((await raw.until(b"\r\n"))[:12])
    assert said == [b"HTTP/1.1 201", b"HTTP/1.1 429"]


# --- a worker that is gone -----------------------------------------------------------------------


async def test_a_session_of_socketio_whose_worker_died_is_begun_anew_and_misses_nothing(
    redis: Redis, room: str
) -> None:
    with Fleet(redis.url, count=2, routing="session") as fleet:
        await say_in(fleet, room, "one")  # type: ignore[arg-type]
        session = SocketIOPollingClient(fleet.url, room)
        await session.open()
        assert texts(await take(session, 1)) == ["one"]
        counts = await visited(fleet, "socketio")
        victim: Server = fleet.workers[counts.index(max(counts))]
        victim.kill()
        await victim.ended()
        await say_in(fleet, room, "two")  # type: ignore[arg-type]
        with pytest.raises(Refused) as refused:
            await take(session, 1)
        session.abort()
        assert refused.value.code == "busy"  # nobody else is asked
        anew = SocketIOPollingClient(fleet.url, room, after=session.cursor)
        await anew.open()
        assert texts(await take(anew, 1)) == ["two"]
        anew.abort()


async def test_a_session_of_sockjs_whose_worker_died_is_told_so(redis: Redis) -> None:
    with Fleet(redis.url, count=2, routing="session") as fleet:
        session = "/sockjs/000/abcdefgh"
        opened = await request(fleet.url, "POST", f"{session}/xhr", b"")
        for worker in fleet.workers:
            rows = (await get_json(worker.url, "/wire"))["transports"]
            if "sockjs" in rows:
                worker.kill()
                await worker.ended()
        again = await request(fleet.url, "POST", f"{session}/xhr", b"")
        said = await request(fleet.url, "POST", f"{session}x/xhr_send", b'["hello"]')
    # An `o` for one that is open: "Server lost session", says the library, and closes it.
    assert (opened.body, again.body) == (b"o\n", b"o\n")
    assert said.status == 404
