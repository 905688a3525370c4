"""What the page of every transport does; all tests of a transport share one page."""

import re

import pytest
from playwright.async_api import Locator, Page, expect

from realtime.client import get_json, post
from tests.browser.chat_page import (
    HARD,
    MODULE,
    NAMES,
    Chat,
    expect_message,
    expect_no_gap,
    message,
    only,
    open_chat,
    send,
)
from tests.browser.tabs import leave
from tests.transports.readers import LIBRARIES

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WIRE_LIST = "#wire .wire-list"
# The first arrows of each transport's sequence diagram.
FIRST_LABELS = {
    "short_polling": ["GET …/short_polling", "200 · "],
    "long_polling": ["GET …/long_polling", "200 · "],
    "iframe_streaming": ["GET …/iframe_streaming", "200 · stays open", "chunk · 512 B"],
    "sse": ["GET …/sse", "200 · stays open"],
    "fetch_streaming": ["GET …/fetch_streaming", "200 · stays open"],
    "websocket": ["GET …/websocket", "101 · stays open"],
}
# The start of a message in each transport's framing.
PAYLOADS = {
    "short_polling": '{"cursor":',
    "long_polling": '{"cursor":',
    "iframe_streaming": "<script data-event=",
    "sse": "id: ",
    "fetch_streaming": '{"kind":"say"',
    "websocket": '{"kind":"say"',
    "webtransport": '{"kind":"say"',
    "sockjs": 'a["{',
    "socketio": '42["event",{"kind":"say"',
}


def parts(page: Page, kind: str, text: str | re.Pattern[str]) -> Locator:
    return page.locator(f'#wire .wire-part[data-kind="{kind}"]').filter(has_text=text)


# --- the first message ----------------------------------------------------------------------------


# Before all others: it reads the start of the diagram, and counts its events.
@only(*FIRST_LABELS)
async def test_a_page_draws_its_own_traffic(chat: Chat) -> None:
    page, labels = chat.page, chat.page.locator(".sequence svg .arrow > .label")
    for n, words in enumerate(FIRST_LABELS[chat.transport]):
        await expect(labels.nth(n)).to_contain_text(words)
    await send(page, "hello")
    up = "message" if chat.transport == "websocket" else "POST …/messages"
    await expect(labels.filter(has_text=up)).to_have_count(1)
    done = "ack" if chat.transport == "websocket" else "POST … 201"
    await expect(labels.filter(has_text=done)).to_have_count(1)
    await post(chat.server.url, chat.room, text="from elsewhere")
    # With our own join and message there are three, alone or together.
    await expect(page.locator(".sequence .totals")).to_contain_text("events: 3")


@only("iframe_streaming")
async def test_the_tab_of_a_forever_frame_finishes_loading(chat: Chat) -> None:
    assert await chat.page.evaluate("document.readyState") == "complete"


# --- the wire view --------------------------------------------------------------------------------


async def test_a_page_shows_the_bytes_of_its_own_connections(chat: Chat) -> None:
    page, transport = chat.page, chat.transport
    await send(page, "over the wire")
    await expect(message(page, "over the wire")).to_contain_text(NAMES[transport])
    path = LIBRARIES.get(transport, f"/rooms/{chat.room}/{transport}")
    if transport != "webtransport":  # its request is encrypted
        await expect(parts(page, "start-line", f"GET {path}?").first).to_be_visible()
        await expect(page.locator(WIRE_LIST)).to_contain_text("Host: 127.0.0.1")
    kind = {"sse": "chunk-data", "fetch_streaming": "chunk-data", "websocket": "frame-payload"}
    kind |= {"webtransport": "line"} | dict.fromkeys(LIBRARIES, "frame-payload")
    where = kind.get(transport, "chunk-data" if "streaming" in transport else "body")
    shown = parts(page, where, "over the wire").filter(has_text=PAYLOADS[transport])
    await expect(shown.first).to_be_visible()


async def test_a_message_is_shown_as_text_never_as_markup(chat: Chat) -> None:
    page, eve = chat.page, "<img src=x onerror=alert(2)>"
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await post(chat.server.url, chat.room, text=HARD, name=eve, client="eve")
    await expect(message(page, "alert(1)")).to_have_count(1)
    assert HARD in str(await message(page, "alert(1)").text_content())
    await expect(message(page, "alert(1)")).to_contain_text(eve)
    await expect(page.locator(WIRE_LIST)).to_contain_text("onerror=alert(2)")
    assert await page.locator("#wire img, #wire script, #messages img").count() == 0
    assert dialogs == []


@only("sse", "websocket")
async def test_the_totals_are_those_of_the_server(chat: Chat) -> None:
    page, url = chat.page, chat.server.url
    await send(page, "count me")
    await expect(page.locator(WIRE_LIST)).to_contain_text("count me")
    members = (await get_json(url, f"/rooms/{chat.room}/members"))["members"]
    client = members[0]["client"]
    secret = await page.evaluate(
        f"client => {MODULE}('identity.js').then((one) => one.secretOf(client))", client
    )
    rows = (await get_json(url, f"/wire?client={client}&secret={secret}"))["transports"]
    # Other requests, such as those for the members, do not carry the tap's secret.
    counted = [rows[name] for name in (chat.transport, "messages") if name in rows]
    up, down = (sum(row[way] for row in counted) for way in ("bytes_in", "bytes_out"))
    await expect(page.locator("#wire .wire-totals")).to_contain_text(f"{up:,} bytes, ↓ {down:,}")


@only("websocket")
async def test_a_click_on_a_part_explains_it_and_names_the_standard(chat: Chat) -> None:
    page, explanation = chat.page, chat.page.locator("#wire .wire-explanation")
    await send(page, "hello")
    await parts(page, "field", "Sec-WebSocket-Key").click()
    await expect(explanation).to_contain_text("Sixteen random bytes")
    await expect(explanation).to_contain_text("RFC 6455 §4.1")
    masked = page.locator('#wire li[data-direction="up"] .wire-part[data-kind="frame-head"]').first
    await masked.focus()
    await page.keyboard.press("Enter")
    await expect(explanation).to_contain_text("RFC 6455 §5.2")
    await expect(explanation).to_contain_text("2 bytes")


@only("websocket")
async def test_text_is_shown_unmasked_and_hexadecimal_masked(chat: Chat) -> None:
    page = chat.page
    await send(page, "behind the mask")
    up = page.locator('#wire li[data-direction="up"]')
    sent = up.locator('.wire-part[data-kind="frame-payload"]').filter(has_text="behind the mask")
    await expect(sent).to_be_visible()
    frame = up.filter(has_text="behind the mask")
    await expect(frame).to_have_count(1)
    number = await up.evaluate_all("all => all.findIndex((li) => li.innerText.includes('behind'))")
    await page.check("#wire .hex")
    plain = b"behind the mask".hex(" ")
    await expect(up.nth(number)).to_contain_text("frame: text")
    await expect(up.nth(number)).not_to_contain_text(plain)
    down = page.locator('#wire li[data-direction="down"] .wire-part[data-kind="frame-payload"]')
    await expect(down.filter(has_text=plain)).to_be_visible()
    await page.uncheck("#wire .hex")


async def test_a_message_its_arrow_and_its_bytes_are_marked_together(chat: Chat) -> None:
    page = chat.page
    await post(chat.server.url, chat.room, text="look at me", client="eve")
    said = message(page, "look at me")
    message_line = page.locator("#messages li.linked").filter(has_text="look at me")
    block, arrow = page.locator("#wire li.linked"), page.locator("#sequence .arrow.linked")
    await expect(page.locator(WIRE_LIST)).to_contain_text("look at me")
    # From the message to its bytes and its arrow …
    await said.hover()
    await expect(block).to_have_count(1)
    await expect(block).to_contain_text("look at me")
    await expect(block).to_be_in_viewport()
    await expect(arrow).to_have_count(1)
    # … from the bytes to both, and from the arrow to both.
    await block.locator(".wire-part").last.click()
    await page.mouse.move(1, 1)
    await expect(message_line).to_have_count(1)
    await page.keyboard.press("Escape")
    await expect(message_line).to_have_count(0)
    await said.hover()
    await arrow.locator(".label").click()
    await page.mouse.move(1, 1)
    await expect(message_line).to_have_count(1)
    await expect(block).to_contain_text("look at me")
    await page.keyboard.press("Escape")


@only("fetch_streaming")
async def test_a_paused_view_stands_still_and_catches_up(chat: Chat) -> None:
    page = chat.page
    await page.click("#player .pause")
    await send(page, "meanwhile")
    await expect(page.locator("#messages")).to_contain_text("meanwhile")
    await expect(page.locator(WIRE_LIST)).not_to_contain_text("meanwhile")
    await page.click("#player .pause")
    await expect(page.locator(WIRE_LIST)).to_contain_text("meanwhile")


@only("sse")
async def test_bytes_of_other_clients_are_not_shown(chat: Chat) -> None:
    ada, url = chat.page, chat.server.url
    await ada.click("#player .clear")
    ben = await open_chat(ada.context, url, "fetch_streaming", chat.room, "Ben")
    await send(ben, "for all to hear")
    await expect(ada.locator(WIRE_LIST)).to_contain_text("for all to hear")
    await expect(ada.locator(WIRE_LIST)).not_to_contain_text("fetch_streaming?")
    await expect(ada.locator(WIRE_LIST)).not_to_contain_text("POST /rooms")
    await leave(ben)


# --- the chat -------------------------------------------------------------------------------------


@only("sse")
async def test_a_log_that_becomes_lower_still_shows_its_last_message(chat: Chat) -> None:
    for number in range(30):
        await post(chat.server.url, chat.room, text=f"line {number}")
    await expect_message(chat.page, "line 29")
    for height in (520, 480, 720):
        await chat.page.set_viewport_size({"width": 1280, "height": height})
        await chat.page.wait_for_function(
            """() => {
              const { scrollHeight, scrollTop, clientHeight } = document.querySelector("#log");
              return scrollHeight > clientHeight && scrollHeight - scrollTop - clientHeight < 2;
            }"""
        )


@only("websocket")
async def test_a_refused_message_is_reported_to_its_sender(chat: Chat) -> None:
    await send(chat.page, "汉" * 1400)
    await expect(chat.page.locator("#error")).to_contain_text("4096 bytes")


# For one pair: test_lab.py shows what all transports receive, and each page shows its own name.
@only("websocket")
async def test_two_tabs_on_two_transports_talk(chat: Chat) -> None:
    ada, one, other = chat.page, chat.transport, "long_polling"
    ben = await open_chat(ada.context, chat.server.url, other, chat.room, "Ben")
    await send(ada, "hello from Ada")
    await send(ben, "你好，我是 Ben")
    for page in (ada, ben):
        await expect(message(page, "hello from Ada")).to_have_count(1)
        await expect(message(page, "hello from Ada")).to_contain_text(NAMES[one])
        await expect(message(page, "你好，我是 Ben")).to_have_count(1)
        await expect(message(page, "你好，我是 Ben")).to_contain_text(NAMES[other])
    await expect(ada.locator("#members")).to_contain_text("Ben")
    await leave(ben)


async def test_a_stop_click_does_not_end_the_chat(chat: Chat) -> None:
    await chat.page.evaluate("window.stop()")
    await post(chat.server.url, chat.room, text="after the Stop")
    await expect_message(chat.page, "after the Stop")
    await send(chat.page, "I am still here")
    await expect_message(chat.page, "I am still here")
    await expect_no_gap(chat.page)
