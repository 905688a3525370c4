"""WebTransport on a page, and what the pages say where there is none."""

import json
import re
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, Route, expect

from tests.browser.chat_page import TCP_TRANSPORTS, Chat, message, only, send
from tests.browser.tabs import leave, new_page
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

UNAVAILABLE = """async () => {
  const { whyUnavailable } = await import("../demos/static/available.js");
  return await whyUnavailable("webtransport") ?? "";
}"""


def offering(offer: dict[str, Any]) -> Any:
    """Answer ``GET /lab`` as a server that reports this about WebTransport."""

    async def answer(route: Route) -> None:
        response = await route.fetch()
        lab = await response.json() | {"webtransport": offer}
        await route.fulfill(response=response, body=json.dumps(lab))

    return answer


@only("webtransport")
async def test_a_page_draws_a_session_its_lines_and_the_packets(chat: Chat) -> None:
    page, labels = chat.page, chat.page.locator(".sequence svg .arrow > .label")
    for words in ("CONNECT …/webtransport", "200 · stays open"):
        await expect(labels.filter(has_text=words)).to_have_count(1)
    await send(page, "hello")
    await expect(message(page, "hello")).to_have_count(1)
    for words in ("QUIC packet", "message · ", "ack · ", "1 event · "):
        await expect(labels.filter(has_text=words).first).to_be_attached()
    packet = page.locator('#wire li[data-kind="packet"] .wire-part').first
    await expect(packet).to_contain_text(re.compile(r"^[\d,]+ bytes, encrypted$"))
    # A size and its unit are not two lines.
    heads = page.locator('#wire li[data-kind="packet"] .wire-head')
    heights = await heads.evaluate_all(
        "(all) => all.map((e) => e.offsetHeight / parseFloat(getComputedStyle(e).lineHeight))"
    )
    assert heights
    assert max(heights) < 1.5
    await packet.focus()
    await expect(page.locator("#wire .wire-explanation")).to_contain_text("RFC 9000 §12")
    # The bytes of the lines are inside the packets, and counted once.
    totals = await page.locator("#wire .wire-totals").inner_text()
    assert re.search(r"↑ [1-9][\d,]+ bytes, ↓ [1-9][\d,]+", totals)


@only("webtransport")
async def test_the_page_says_why_there_is_no_webtransport(chat: Chat) -> None:
    page = chat.page
    assert await page.evaluate(UNAVAILABLE) == ""
    for reason, words in [
        ("not_installed", "aioquic is missing"),
        ("behind_proxy", "came through a proxy"),
        ("port_in_use", "--webtransport-port 0"),
        ("disabled", "without WebTransport"),
        ("new", "(new)"),
    ]:
        await page.route("**/lab", offering({"reason": reason}))
        assert words in await page.evaluate(UNAVAILABLE)
        await page.unroute("**/lab")
    await page.evaluate("window.kept = WebTransport; delete window.WebTransport")
    assert "This browser has no WebTransport" in await page.evaluate(UNAVAILABLE)
    await page.evaluate("() => { window.WebTransport = window.kept; }")


async def test_without_it_its_page_the_lab_and_the_story_say_so_and_work(
    server: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    """In a page that is no secure context, see test_foreign_pages.py."""
    await context.route("**/lab", offering({"reason": "disabled"}))
    words = "This server was started without WebTransport"
    page = await new_page(context)
    await page.goto(f"{server.url}/demos/webtransport.html?room={room}&lang=en")
    await expect(page.locator("#state")).to_have_attribute("data-state", "unavailable")
    await expect(page.locator(".notice")).to_contain_text(words)
    await expect(page.locator("#send")).to_be_disabled()
    await page.goto(f"{server.url}/demos/lab.html?room={room}&lang=en")
    await expect(page.locator(".left-out")).to_contain_text(words)
    await expect(page.locator(".pane .state[data-state=open]")).to_have_count(len(TCP_TRANSPORTS))
    await expect(page.locator("#chart label")).to_have_count(len(TCP_TRANSPORTS))
    await page.goto(f"{server.url}/?room={room}&lang=en#webtransport")
    await expect(page.locator("#left-out")).to_contain_text(words)
    await expect(page.locator("#say")).to_be_hidden()
    await page.click("#next")
    await expect(page.locator(".lane")).to_have_count(len(TCP_TRANSPORTS))
    await expect(page.locator("#left-out")).to_contain_text(words)
    await expect(page.locator("#send")).to_be_enabled()
    await leave(page)
    assert console_errors == []


async def test_a_network_without_udp_is_named(
    server: Server, clock_context: BrowserContext, room: str
) -> None:
    """Nobody listens at the UDP port that the server names, but the server responds over HTTP."""
    await clock_context.route("**/lab", offering({"port": 9, "hashes": ["A" * 43 + "="]}))
    page: Page = await clock_context.new_page()
    await page.goto(f"{server.url}/demos/webtransport.html?room={room}&lang=en")
    await expect(page.locator("#state")).to_have_attribute("data-state", "waiting")
    await expect(page.locator("#state-text")).to_contain_text("may block UDP")
