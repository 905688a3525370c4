"""The wire view: every byte of the page's own connections, named, counted and explained."""

import re

import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from benchmarks.clients import get_json, post
from tests.browser.test_pages import HARD, TRANSPORTS, enter, room, say
from tests.server_process import Server
from tests.transports.readers import LIBRARIES

__all__ = ["room"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# How each transport puts a message on the wire.
PAYLOADS = {
    "short_polling": '{"cursor":',
    "long_polling": '{"cursor":',
    "iframe_streaming": "<script data-event=",
    "sse": "id: ",
    "fetch_streaming": '{"kind":"say"',
    "websocket": '{"kind":"say"',
    "sockjs": 'a["{',
    "socketio": '42["event",{"kind":"say"',
}


def pieces(page: Page, kind: str, text: str | re.Pattern[str]) -> Locator:
    return page.locator(f'#wire .wire-part[data-kind="{kind}"]').filter(has_text=text)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_shows_the_bytes_of_its_own_connections(
    server: Server, context: BrowserContext, complaints: list[str], room: str, transport: str
) -> None:
    page = await enter(context, server.url, transport, room)
    await say(page, "over the wire")
    path = LIBRARIES.get(transport, f"/rooms/{room}/{transport}")
    line = f"GET {path}?"
    await expect(pieces(page, "start-line", line).first).to_be_visible()
    kind = {"sse": "chunk-data", "fetch_streaming": "chunk-data", "websocket": "frame-payload"}
    kind |= dict.fromkeys(LIBRARIES, "frame-payload")
    where = kind.get(transport, "chunk-data" if "streaming" in transport else "body")
    told = pieces(page, where, "over the wire").filter(has_text=PAYLOADS[transport])
    await expect(told.first).to_be_visible()
    await expect(page.locator("#wire .wire-list")).to_contain_text("Host: 127.0.0.1")
    assert complaints == []


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_the_totals_are_those_of_the_server(
    server: Server, context: BrowserContext, room: str, transport: str
) -> None:
    page = await enter(context, server.url, transport, room)
    await say(page, "count me")
    await expect(page.locator("#wire .wire-list")).to_contain_text("count me")
    client = await page.evaluate(
        f"fetch('/rooms/{room}/members').then(r => r.json()).then(m => m.members[0].client)"
    )
    rows = (await get_json(server.url, f"/wire?client={client}"))["transports"]
    # A poll that asked why, or the members, are no part of what carries the secret.
    counted = [rows[name] for name in (transport, "messages") if name in rows]
    up, down = (sum(row[way] for row in counted) for way in ("bytes_in", "bytes_out"))
    await expect(page.locator("#wire .wire-totals")).to_contain_text(f"{up:,} bytes, ↓ {down:,}")


async def test_a_click_on_a_part_tells_what_it_is_and_where_that_is_written(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await enter(context, server.url, "websocket", room)
    await say(page, "hello")
    told = page.locator("#wire .wire-explanation")
    await pieces(page, "field", "Sec-WebSocket-Key").click()
    await expect(told).to_contain_text("Sixteen random bytes")
    await expect(told).to_contain_text("RFC 6455 §4.1")
    masked = page.locator('#wire li[data-direction="up"] .wire-part[data-kind="frame-head"]').first
    await masked.focus()
    await page.keyboard.press("Enter")
    await expect(told).to_contain_text("RFC 6455 §5.2")
    await expect(told).to_contain_text("2 bytes")


async def test_what_a_mask_hides_is_shown_and_in_hexadecimal_it_is_not(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await enter(context, server.url, "websocket", room)
    await say(page, "behind the mask")
    up = page.locator('#wire li[data-direction="up"]')
    sent = up.locator('.wire-part[data-kind="frame-payload"]').filter(has_text="behind the mask")
    await expect(sent).to_be_visible()
    await page.check("#wire .hex")
    plain = b"behind the mask".hex(" ")
    await expect(up.filter(has_text="frame: text").first).not_to_contain_text(plain)
    down = page.locator('#wire li[data-direction="down"] .wire-part[data-kind="frame-payload"]')
    await expect(down.filter(has_text=plain)).to_be_visible()


@pytest.mark.parametrize("transport", ["iframe_streaming", "sse"])
async def test_what_crossed_is_text_whatever_it_is(
    server: Server, context: BrowserContext, complaints: list[str], room: str, transport: str
) -> None:
    page = await enter(context, server.url, transport, room)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await post(server.url, room, text=HARD, name="<img src=x onerror=alert(1)>", client="eve")
    await expect(page.locator("#wire .wire-list")).to_contain_text("onerror=alert(1)")
    assert await page.locator("#wire img, #wire script").count() == 0
    assert (dialogs, complaints) == ([], [])


async def test_nobody_elses_bytes_are_shown(
    server: Server, context: BrowserContext, room: str
) -> None:
    ada = await enter(context, server.url, "sse", room, "Ada")
    ben = await enter(context, server.url, "fetch_streaming", room, "Ben")
    await say(ben, "for all to hear")
    await expect(ada.locator("#wire .wire-list")).to_contain_text("for all to hear")
    await expect(ada.locator("#wire .wire-list")).not_to_contain_text("fetch_streaming?")
    await expect(ada.locator("#wire .wire-list")).not_to_contain_text("POST /rooms")


async def test_paused_it_stands_still_and_then_catches_up(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await enter(context, server.url, "fetch_streaming", room)
    await page.click("#wire .pause")
    await say(page, "meanwhile")
    await expect(page.locator("#messages")).to_contain_text("meanwhile")
    await expect(page.locator("#wire .wire-list")).not_to_contain_text("meanwhile")
    await page.click("#wire .pause")
    await expect(page.locator("#wire .wire-list")).to_contain_text("meanwhile")


async def test_many_messages_leave_a_bounded_list_and_a_page_that_answers(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await enter(context, server.url, "fetch_streaming", room)
    for n in range(400):
        await post(server.url, room, text=f"number {n}", client=f"c{n % 20}")
    await expect(page.locator("#wire .wire-list")).to_contain_text("number 399")
    assert await page.locator("#wire .wire-list > li").count() <= 200
    await page.click("#wire .clear")
    await expect(page.locator("#wire .wire-totals")).to_contain_text("↑ 0 bytes")
