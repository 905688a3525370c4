"""The routing that the sticky page simulates is nginx's own."""

import secrets
from collections.abc import Awaitable, Callable

import pytest

from realtime.client import get_json, request
from realtime.client.long_polling import LongPollingClient
from tests.conftest import Servers
from tests.demos import node
from tests.nginx_fixture import Nginx
from tests.server_process import Server

WORKERS = 3

# Which worker the page's code chooses for each address, and for each session.
BY_ADDRESS = "({ ipHash }, all, workers) => all.map((one) => ipHash(one, workers))"
BY_SESSION = """({ ring, ringLookup }, all, names) => {
  const points = ring(names);
  return all.map((one) => ringLookup(one, points));
}"""


@pytest.fixture
def workers(servers: Servers) -> list[Server]:
    """Workers behind one Redis, for nginx in front of them."""
    options = ("--trust-proxy", "127.0.0.1", "--messages-per-second", "0")
    return [servers.get("redis", *options, copy=n) for n in range(WORKERS)]


def names_of(workers: list[Server]) -> list[str]:
    return [f"127.0.0.1:{worker.port}" for worker in workers]


async def receivers(
    workers: list[Server],
    transport: str,
    sources: list[str],
    send: Callable[[str], Awaitable[None]],
) -> list[int]:
    """For each source, the worker that receives its request, found by the workers' own counts."""

    async def counts() -> list[int]:
        rows = [(await get_json(worker.url, "/wire"))["transports"] for worker in workers]
        return [row.get(transport, {"requests": 0})["requests"] for row in rows]

    found = []
    before = await counts()
    for source in sources:
        await send(source)
        after = await counts()
        grown = [now > then for now, then in zip(after, before, strict=True)]
        found.append(grown.index(True))
        before = after
    return found


async def test_an_address_leads_to_the_worker_that_nginx_chooses(
    workers: list[Server], room: str
) -> None:
    addresses = [f"127.{n * 37 % 250}.{n * 91 % 250}.{n}" for n in range(1, 9)]
    with Nginx(names_of(workers), routing="address") as nginx:

        async def send(address: str) -> None:
            async with LongPollingClient(nginx.url, room, source=address):
                pass

        chosen = await receivers(workers, "long_polling", addresses, send)
    assert node.evaluate("sticky/routing.js", BY_ADDRESS, addresses, WORKERS) == chosen
    assert len(set(chosen)) == WORKERS


async def test_a_session_leads_to_the_worker_that_nginx_chooses(workers: list[Server]) -> None:
    # Random, so that no worker has a session from another test.
    sessions = [secrets.token_hex(8) for _ in range(40)]
    names = names_of(workers)
    with Nginx(names, routing="session") as nginx:

        async def send(session: str) -> None:
            answer = await request(nginx.url, "POST", f"/sockjs/000/{session}/xhr")
            assert answer.body == b"o\n"

        chosen = await receivers(workers, "sockjs", sessions, send)
    assert node.evaluate("sticky/routing.js", BY_SESSION, sessions, names) == chosen
    assert len(set(chosen)) == WORKERS
