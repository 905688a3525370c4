"""Sticky or not: the rules that the page draws are nginx's own, and what it draws follows them."""

from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, expect

from benchmarks.clients import get_json, request
from benchmarks.clients.long_polling import LongPolling
from tests.conftest import Servers
from tests.nginx_fixture import Fleet
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# Asks so often; gives for each request who asked, which worker it was, and whether it was known.
ASK = """async ([way, routing, workers, addresses, times]) => {
  const { Simulation } = await import("/demos/static/sticky/simulation.js");
  const visits = new Visits({ way, routing, workers, addresses });
  return Array.from({ length: times }, () => visits.next()).map(({ visitor, worker, known }) => [
    visitor, worker, known,
  ]);
}"""
HOMES = ["198.51.100.7", "203.0.113.20", "192.0.2.80", "100.64.9.1", "172.16.4.2"]
SCHOOL = ["198.51.100.7"] * 5
WORKERS = [f"127.0.0.1:{port}" for port in (6001, 6002, 6003)]


async def opened(context: BrowserContext, server: Server, query: str = "") -> Page:
    page = await context.new_page()
    await page.goto(f"{server.url}/demos/sticky.html?lang=en{query}")
    await expect(page.locator("#picture rect").first).to_be_attached()
    return page


async def asked(page: Page, way: str, routing: str, addresses: list[str]) -> list[Any]:
    found: list[Any] = await page.evaluate(ASK, [way, routing, WORKERS, addresses, 100])
    return found


# --- the rules -----------------------------------------------------------------------------------


async def test_an_address_leads_to_the_worker_that_nginx_chooses(
    server: Server, servers: Servers, context: BrowserContext, room: str
) -> None:
    page = await opened(context, server)
    sources = [f"127.{n * 37 % 250}.{n * 91 % 250}.{n}" for n in range(1, 9)]
    drawn = await page.evaluate(
        """async (all) => {
          const { ipHash } = await import("/demos/static/sticky/routing.js");
          return all.map((one) => ipHash(one, 3));
        }""",
        sources,
    )

    async def requests() -> list[int]:
        rows = [(await get_json(worker.url, "/wire"))["transports"] for worker in fleet.workers]
        return [row.get("long_polling", {"requests": 0})["requests"] for row in rows]

    real = []
    with Fleet(servers.redis.url, count=3, routing="address") as fleet:
        for source in sources:
            before = await requests()
            async with LongPolling(fleet.url, room, source=source):
                pass
            grown = [now > then for now, then in zip(await requests(), before, strict=True)]
            real.append(grown.index(True))
    assert drawn == real
    assert len(set(real)) == 3


async def test_a_session_leads_to_the_worker_that_nginx_chooses(
    server: Server, servers: Servers, context: BrowserContext
) -> None:
    page = await opened(context, server)
    sessions = [f"s{n * 7919:x}" for n in range(24)]

    async def requests() -> list[int]:
        rows = [(await get_json(worker.url, "/wire"))["transports"] for worker in fleet.workers]
        return [row.get("sockjs", {"requests": 0})["requests"] for row in rows]

    real = []
    with Fleet(servers.redis.url, count=3, routing="session") as fleet:
        for session in sessions:
            before = await requests()
            answer = await request(fleet.url, "POST", f"/sockjs/000/{session}/xhr")
            assert answer.body == b"o\n"
            grown = [now > then for now, then in zip(await requests(), before, strict=True)]
            real.append(grown.index(True))
        names = [f"127.0.0.1:{worker.port}" for worker in fleet.workers]
        drawn = await page.evaluate(
            """async ([all, names]) => {
              const { onRing, ring } = await import("/demos/static/sticky/routing.js");
              const points = ring(names);
              return all.map((one) => onRing(one, points));
            }""",
            [sessions, names],
        )
    assert drawn == real
    assert len(set(real)) == 3


@pytest.mark.parametrize("addresses", [HOMES, SCHOOL])
async def test_what_needs_no_session_is_never_lost(
    server: Server, context: BrowserContext, addresses: list[str]
) -> None:
    page = await opened(context, server)
    for way in ("long_polling", "websocket"):
        for routing in ("any", "address", "session"):
            assert all(known for *_, known in await asked(page, way, routing, addresses))


@pytest.mark.parametrize("way", ["sockjs", "socketio"])
async def test_a_session_is_lost_in_turn_and_kept_by_address_and_by_session(
    server: Server, context: BrowserContext, way: str
) -> None:
    page = await opened(context, server)
    in_turn = await asked(page, way, "any", HOMES)
    # Nobody comes further than to the second request of a session.
    assert sum(not known for *_, known in in_turn) == 50
    for routing in ("address", "session"):
        for addresses in (HOMES, SCHOOL):
            kept = await asked(page, way, routing, addresses)
            assert all(known for *_, known in kept)
            workers = {worker for _, worker, _ in kept}
            assert (len(workers) == 1) == (routing == "address" and addresses is SCHOOL)


async def test_a_connection_stays_where_it_is(server: Server, context: BrowserContext) -> None:
    page = await opened(context, server)
    of: dict[int, set[int]] = {}
    for visitor, worker, _ in await asked(page, "websocket", "any", HOMES):
        of.setdefault(visitor, set()).add(worker)
    assert [len(workers) for workers in of.values()] == [1] * 5


# --- the page ------------------------------------------------------------------------------------


async def test_each_request_is_drawn_and_said(
    server: Server, context: BrowserContext, complaints: list[str]
) -> None:
    page = await opened(context, server)
    rows = page.locator("#requests tr")
    for _ in range(7):
        await page.click("#step")
    await expect(rows).to_have_count(7)
    await expect(page.locator("#sum")).to_have_text("7 requests, 2 sessions lost")
    await expect(rows.first).to_contain_text("sid=")
    await expect(rows.first).to_contain_text("400 bad_request")
    await expect(page.locator("#picture path")).to_have_class("now refused")
    await expect(page.locator("#picture .lost")).to_have_count(2)
    await expect(page.locator("#why")).to_contain_text("never heard of it")
    await page.get_by_label("by session").check()
    await expect(rows).to_have_count(0)
    await page.click("#play")
    await expect(page.locator("#sum")).to_have_text("3 requests, 0 sessions lost")
    await page.click("#play")
    await page.get_by_label("SockJS, by polling").check()
    await page.get_by_label("in a school, behind one address").check()
    await page.get_by_label("by address (ip_hash)").check()
    await expect(page.locator("#why")).to_contain_text("the whole school has one address")
    for _ in range(12):
        await page.click("#step")
    await expect(rows).to_have_count(10)
    await expect(page.locator("#sum")).to_have_text("12 requests, 0 sessions lost")
    assert complaints == []


async def test_the_lab_leads_to_it(
    server: Server, context: BrowserContext, complaints: list[str]
) -> None:
    page = await context.new_page()
    await page.goto(f"{server.url}/?lang=en")
    await page.get_by_role("link", name="sticky or not").click()
    await expect(page.locator("h1")).to_contain_text("who breaks behind nginx")
    assert complaints == []
