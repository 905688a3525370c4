"""A page stays responsive while a crowd joins or talks, and shows no more than a user can read."""

import asyncio

import pytest
from playwright.async_api import BrowserContext, expect

from realtime.client import get_json, post
from tests.browser.chat_page import message, open_chat, send
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

CROWD = 600


async def test_a_page_in_a_crowd_draws_a_few_lines_per_frame_and_answers_its_user(
    context: BrowserContext, room: str
) -> None:
    with Server("--hub", "memory", "--joins-per-second-per-address", "0") as server:
        await joined_by_a_crowd(context, server, room)


async def joined_by_a_crowd(context: BrowserContext, server: Server, room: str) -> None:
    page = await open_chat(context, server.url, "sse", room)
    # Insertions into the list in each frame: what the browser must lay out before it can answer.
    await page.evaluate(
        """() => {
          window.most = 0;
          new MutationObserver((changes) => {
            const added = changes.reduce((sum, { addedNodes }) => sum + addedNodes.length, 0);
            window.most = Math.max(window.most, added);
          }).observe(document.querySelector("#messages"), { childList: true });
        }"""
    )

    async def join(numbers: range) -> None:
        for n in numbers:
            query = f"client=c{n}&name=N{n}&after=now"
            await get_json(server.url, f"/rooms/{room}/short_polling?{query}")

    joining = asyncio.gather(*(join(range(first, CROWD - 1, 20)) for first in range(20)))
    await send(page, "I am still here")
    # Delivered, not only waiting to be sent.
    await expect(message(page, "I am still here").locator(".delay")).to_contain_text("ms")
    await joining
    # The server may have answered all of them before the message came, so one more joins after it.
    await join(range(CROWD - 1, CROWD))
    await expect(page.locator("#member-count")).to_have_text(str(CROWD + 1))
    assert await page.locator("#members li").count() == 201
    await expect(page.locator("#members li").last).to_contain_text(f"{CROWD + 1 - 200} more")
    await expect(page.locator("#messages li").last).to_contain_text("joined")
    assert await page.locator("#messages li").count() <= 500
    assert 0 < await page.evaluate("window.most") <= 20


async def test_many_messages_leave_a_bounded_wire_view_and_a_responsive_page(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await open_chat(context, server.url, "fetch_streaming", room)
    for first in range(0, 400, 20):
        numbers = range(first, first + 20)
        sending = (post(server.url, room, text=f"number {n}", client=f"c{n % 20}") for n in numbers)
        await asyncio.gather(*sending)
    # Alone in its block, of which only the beginning is shown.
    await expect(page.locator("#messages")).to_contain_text("number 399")
    await post(server.url, room, text="the last one")
    await expect(page.locator("#wire .wire-list")).to_contain_text("the last one")
    assert await page.locator("#wire .wire-list > li").count() <= 200
    await page.click("#player .clear")
    await expect(page.locator("#wire .wire-totals")).to_contain_text("↑ 0 bytes")
