"""The wire view: every byte of the page's own connections, named, counted and explained."""

import asyncio
import re

import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from benchmarks.clients import get_json, post
from tests.browser.chat_page import HARD, open_chat, send
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def parts(page: Page, kind: str, text: str | re.Pattern[str]) -> Locator:
    return page.locator(f'#wire .wire-part[data-kind="{kind}"]').filter(has_text=text)


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_the_totals_are_those_of_the_server(
    server: Server, context: BrowserContext, room: str, transport: str
) -> None:
    page = await open_chat(context, server.url, transport, room)
    await send(page, "count me")
    await expect(page.locator("#wire .wire-list")).to_contain_text("count me")
    client = await page.evaluate(
        f"fetch('/rooms/{room}/members').then(r => r.json()).then(m => m.members[0].client)"
    )
    rows = (await get_json(server.url, f"/wire?client={client}"))["transports"]
    # Other requests, such as those for the members, do not carry the tap's secret.
    counted = [rows[name] for name in (transport, "messages") if name in rows]
    up, down = (sum(row[way] for row in counted) for way in ("bytes_in", "bytes_out"))
    await expect(page.locator("#wire .wire-totals")).to_contain_text(f"{up:,} bytes, ↓ {down:,}")


async def test_a_click_on_a_part_explains_it_and_names_the_standard(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await open_chat(context, server.url, "websocket", room)
    await send(page, "hello")
    explanation = page.locator("#wire .wire-explanation")
    await parts(page, "field", "Sec-WebSocket-Key").click()
    await expect(explanation).to_contain_text("Sixteen random bytes")
    await expect(explanation).to_contain_text("RFC 6455 §4.1")
    masked = page.locator('#wire li[data-direction="up"] .wire-part[data-kind="frame-head"]').first
    await masked.focus()
    await page.keyboard.press("Enter")
    await expect(explanation).to_contain_text("RFC 6455 §5.2")
    await expect(explanation).to_contain_text("2 bytes")


async def test_text_is_shown_unmasked_and_hexadecimal_masked(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await open_chat(context, server.url, "websocket", room)
    await send(page, "behind the mask")
    up = page.locator('#wire li[data-direction="up"]')
    sent = up.locator('.wire-part[data-kind="frame-payload"]').filter(has_text="behind the mask")
    await expect(sent).to_be_visible()
    await page.check("#wire .hex")
    plain = b"behind the mask".hex(" ")
    await expect(up.filter(has_text="frame: text").first).not_to_contain_text(plain)
    down = page.locator('#wire li[data-direction="down"] .wire-part[data-kind="frame-payload"]')
    await expect(down.filter(has_text=plain)).to_be_visible()


@pytest.mark.parametrize("transport", ["iframe_streaming", "sse"])
async def test_captured_bytes_are_shown_as_text_never_as_markup(
    server: Server, context: BrowserContext, console_errors: list[str], room: str, transport: str
) -> None:
    page = await open_chat(context, server.url, transport, room)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await post(server.url, room, text=HARD, name="<img src=x onerror=alert(1)>", client="eve")
    await expect(page.locator("#wire .wire-list")).to_contain_text("onerror=alert(1)")
    assert await page.locator("#wire img, #wire script").count() == 0
    assert (dialogs, console_errors) == ([], [])


async def test_bytes_of_other_clients_are_not_shown(
    server: Server, context: BrowserContext, room: str
) -> None:
    ada = await open_chat(context, server.url, "sse", room, "Ada")
    ben = await open_chat(context, server.url, "fetch_streaming", room, "Ben")
    await send(ben, "for all to hear")
    await expect(ada.locator("#wire .wire-list")).to_contain_text("for all to hear")
    await expect(ada.locator("#wire .wire-list")).not_to_contain_text("fetch_streaming?")
    await expect(ada.locator("#wire .wire-list")).not_to_contain_text("POST /rooms")


async def test_a_paused_view_stands_still_and_catches_up(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await open_chat(context, server.url, "fetch_streaming", room)
    await page.click("#player .pause")
    await send(page, "meanwhile")
    await expect(page.locator("#messages")).to_contain_text("meanwhile")
    await expect(page.locator("#wire .wire-list")).not_to_contain_text("meanwhile")
    await page.click("#player .pause")
    await expect(page.locator("#wire .wire-list")).to_contain_text("meanwhile")


async def test_many_messages_leave_a_bounded_list_and_a_responsive_page(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await open_chat(context, server.url, "fetch_streaming", room)
    for first in range(0, 400, 20):
        numbers = range(first, first + 20)
        sending = (post(server.url, room, text=f"number {n}", client=f"c{n % 20}") for n in numbers)
        await asyncio.gather(*sending)
    await expect(page.locator("#wire .wire-list")).to_contain_text("number 399")
    assert await page.locator("#wire .wire-list > li").count() <= 200
    await page.click("#player .clear")
    await expect(page.locator("#wire .wire-totals")).to_contain_text("↑ 0 bytes")
