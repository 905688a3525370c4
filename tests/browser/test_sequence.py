"""The sequence diagram in a real browser: it is drawn, scrolls, pauses, and works by keyboard.

The labels, times and positions are pure JavaScript: tests/js/sequence.test.mjs.
test_transport_pages.py tests what each page draws of its own traffic.
"""

import asyncio
import base64
import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.browser.tabs import new_page
from tests.server_process import Server

SECONDS = 20
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

Record = dict[str, Any]

# --- records, as a tap sends them -----------------------------------------------------------------


def record(connection: int, direction: str, at: float, data: str | bytes) -> Record:
    if isinstance(data, str):
        data = data.encode()
    return {
        "connection": connection,
        "transport": "sse",
        "direction": direction,
        "at": at,
        "data": base64.b64encode(data).decode(),
    }


def request(connection: int, at: float, line: str = "GET /rooms/r/sse") -> Record:
    return record(connection, "up", at, f"{line} HTTP/1.1\r\nHost: x\r\n\r\n")


def response(connection: int, at: float, body: str) -> Record:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
    return record(connection, "down", at, head + body)


def stream(connection: int, at: float) -> Record:
    head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return record(connection, "down", at, head)


def event(connection: int, at: float) -> Record:
    data = 'id: 1\ndata: {"kind":"say"}\n\n'
    return record(connection, "down", at, f"{len(data):x}\r\n{data}\r\n")


def closed(connection: int, at: float) -> Record:
    return {"connection": connection, "at": at, "closed": True}


EMPTY = '{"cursor":"e-1","events":[]}'

EMPTY_PAGE = """<!doctype html><html lang="en"><title>A diagram</title>
<link rel="icon" href="/demos/static/icon.svg">
<link rel="stylesheet" href="/demos/static/page.css">
<script src="/demos/static/theme.js"></script><main></main>"""
# A diagram that the test feeds with records.
SET_UP = """async () => {
  const { showTraffic } = await import("/demos/static/wire/workspace.js");
  const ids = ["player", "sequence", "wire"];
  const elements = ids.map((id) => Object.assign(document.createElement("section"), { id }));
  document.querySelector("main").className = "workspace";
  document.querySelector("main").replaceChildren(...elements);
  document.querySelector("main").style.height = "40rem";
  const listeners = [];
  window.startedAt = Date.now();
  const [tools, sequence, wire] = elements;
  const on = (listener) => listeners.push(listener);
  showTraffic({ tools, sequence, wire }, { secret: "s", on });
  window.feed = (records) => records.forEach((record) => {
    if (record.data !== undefined) {
      record.bytes = Uint8Array.from(atob(record.data), (c) => c.charCodeAt());
    }
    if (record.at !== undefined) record.at += window.startedAt;
    listeners.forEach((listener) => listener(record));
  });
}"""


async def diagram(server: Server, context: BrowserContext) -> Page:
    page = await new_page(context)
    url = f"{server.url}/demos/empty.html?lang=en"
    headers = {"Content-Type": "text/html", "Content-Security-Policy": "default-src 'self'"}
    await page.route(url, lambda route: route.fulfill(body=EMPTY_PAGE, headers=headers))
    await page.goto(url)
    await page.evaluate(SET_UP)
    return page


async def feed(page: Page, records: Iterable[Record]) -> None:
    """Feed the diagram; `at` is in ms since it was created."""
    await page.evaluate(f"feed({json.dumps(list(records))})")


def arrows(page: Page, kind: str = "") -> Locator:
    return page.locator(f".sequence svg .arrow{kind}")


def labels(page: Page) -> Locator:
    return page.locator(".sequence svg .arrow > .label")


# --- drawing --------------------------------------------------------------------------------------


async def test_every_kind_of_entry_is_drawn(
    server: Server, context: BrowserContext, console_errors: list[str]
) -> None:
    page = await diagram(server, context)
    await page.evaluate("document.body.dataset.transport = 'short_polling'")
    poll, wait = "GET /rooms/r/short_polling", "GET /rooms/r/long_polling?wait=25"
    await feed(
        page,
        [
            *[request(5, 0, poll), response(5, 1, EMPTY)],
            *[request(6, 1000, wait), response(6, 1900, EMPTY), request(6, 2103, wait)],
            *[request(7, 2200), stream(7, 2201), event(7, 2202), event(7, 62_202)],
            *[closed(7, 62_300), {"dropped": 12_345}],
        ],
    )
    await expect(arrows(page)).to_have_count(11)
    await expect(labels(page).last).to_have_text("12.3 kB came too fast to be shown")
    await expect(arrows(page, ".disconnect").locator(".label")).to_have_text("connection 3 ended")
    # Each connection has its number, its lane and its bar.
    await expect(page.locator(".sequence svg text.badge")).to_have_text(["1", "2", "2", "3"])
    bars = page.locator(".sequence svg .bar")
    await expect(bars).to_have_count(4)
    assert len({await bar.get_attribute("x") for bar in await bars.all()}) == 3
    shaft = arrows(page, ".empty").first.locator(".shaft")
    await expect(shaft).not_to_have_css("stroke-dasharray", "none")
    blind = page.locator(".sequence svg .outage.blind text")
    await expect(blind).to_have_text("blind for 203 ms")
    # Its label has a row of its own: on a phone it would overlap the next request.
    await expect_above(blind, arrows(page, ".request").nth(2).locator(".label"))
    await expect(page.locator(".sequence svg .idle text").first).to_have_text("… 60 s idle …")
    await expect(page.locator(".sequence svg .time").last).to_have_text("62.300")
    await expect(page.locator(".sequence .transit")).to_contain_text("not known yet")
    await expect(page.locator(".sequence .totals")).to_contain_text("empty responses: 1 of 2")
    assert console_errors == []


async def expect_above(upper: Locator, lower: Locator) -> None:
    """Expect `upper` to end where `lower` starts, soon: the diagram is drawn again as it grows."""
    async with asyncio.timeout(SECONDS):
        while True:
            one, other = await upper.bounding_box(), await lower.bounding_box()
            assert one is not None
            assert other is not None
            if one["y"] + one["height"] - other["y"] < 2:
                return
            await asyncio.sleep(0.05)


async def test_only_the_latest_entries_are_kept_and_the_visible_ones_stay_in_place(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    await feed(page, [request(7, 0), stream(7, 1)])
    await feed(page, [event(7, 1000 + 200 * n) for n in range(140)])
    await expect(arrows(page)).to_have_count(142)
    box = page.locator(".sequence .box")
    # A reader at the end follows new entries; one who has scrolled up keeps the position.
    assert await box.evaluate("box => box.scrollHeight - box.scrollTop - box.clientHeight") < 2
    await box.evaluate("box => { box.scrollTop = box.scrollHeight / 2; }")
    middle = arrows(page).nth(70)
    title = await middle.locator("title").text_content() or ""
    before = await top_of(middle)
    await feed(page, [event(7, 30_000 + 200 * n) for n in range(60)])
    await expect(arrows(page)).to_have_count(150)
    same = arrows(page).filter(has=page.locator("title", has_text=title))
    assert await top_of(same) == pytest.approx(before, abs=3)


async def top_of(arrow: Locator) -> float:
    box = await arrow.bounding_box()
    assert box is not None
    return box["y"]


async def test_a_paused_capture_stands_still_steps_replays_and_catches_up(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    await feed(page, [request(7, 0), stream(7, 1)])
    await expect(arrows(page)).to_have_count(2)
    state = page.locator(".player-state")
    blocks = page.locator("#wire .wire-list li:visible")
    await page.get_by_role("button", name="Pause").click()
    await expect(state).to_have_text("Paused at 0.001 s")
    await feed(page, [event(7, 300), event(7, 600)])
    await page.get_by_role("button", name="◂ Step").click()
    await expect(state).to_have_text("Paused at 0.000 s")
    await expect(arrows(page)).to_have_count(1)
    await expect(blocks).to_have_count(1)
    # Forward through what was shown before, and one arrow into what has waited.
    for time, count in (("0.001", 2), ("0.300", 3)):
        await page.get_by_role("button", name="Step ▸").click()
        await expect(state).to_have_text(f"Paused at {time} s")
        await expect(arrows(page)).to_have_count(count)
        await expect(blocks).to_have_count(count)
    await expect(arrows(page, ".chosen")).to_have_class(re.compile("event"))
    await page.get_by_role("button", name="Go on").click()
    await expect(arrows(page)).to_have_count(4)
    await expect(state).to_have_text("Live")
    await page.get_by_role("button", name="Replay").click()
    await expect(arrows(page)).to_have_count(1)
    await expect(arrows(page)).to_have_count(4)
    await expect(state).to_have_text("Live")
    await page.get_by_role("button", name="Clear").click()
    await expect(arrows(page)).to_have_count(0)
    await expect(page.locator(".sequence .nothing")).to_be_visible()
    # The stream is still open, and a new connection has a new number.
    await feed(page, [event(7, 900), request(9, 901, "POST /rooms/r/messages")])
    await expect(page.locator(".sequence svg .bar.stream")).to_have_count(1)
    await expect(page.locator(".sequence svg text.badge")).to_have_text(["2"])


async def test_a_hidden_page_draws_nothing_and_catches_up(
    server: Server, clock_context: BrowserContext
) -> None:
    page = await diagram(server, clock_context)
    await page.evaluate(
        "() => Object.defineProperty(document, 'hidden', { get: () => window.away === true })"
    )
    await feed(page, [request(7, 0)])
    await expect(arrows(page)).to_have_count(1)
    await page.evaluate("() => { window.away = true; }")
    await feed(page, [stream(7, 1), event(7, 2)])
    await page.clock.run_for(1_500)
    assert await arrows(page).count() == 1
    await page.evaluate(
        "() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }"
    )
    await expect(arrows(page)).to_have_count(3)


# --- accessibility --------------------------------------------------------------------------------


async def test_an_arrow_is_selected_by_key_or_click_and_described_in_words(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    await feed(page, [request(7, 0, "GET /rooms/r/sse?after=e-1&trace=secret"), stream(7, 1)])
    await expect(arrows(page)).to_have_count(2)
    description = page.locator(".sequence .description")
    await page.locator(".sequence .box").focus()
    await page.keyboard.press("ArrowUp")
    await expect(description).to_contain_text(
        "the header of the response to GET /rooms/r/sse?after=e-1 left"
    )
    await page.keyboard.press("ArrowUp")
    await expect(description).to_contain_text(
        "GET /rooms/r/sse?after=e-1 had arrived on connection 1"
    )
    await expect(arrows(page, ".chosen")).to_have_count(1)
    await arrows(page, ".stream").locator(".label").click()
    await expect(description).to_contain_text("the header of the response")
    assert "secret" not in await page.locator(".sequence").inner_text()
    await page.get_by_text("the latest as a list").click()
    await expect(page.locator(".sequence .latest li")).to_have_count(2)
    await feed(page, [event(7, 300)])
    await expect(page.locator(".sequence .latest li").last).to_contain_text("1 event left")
