"""The workspace of a transport's page: chat, sequence diagram and bytes, side by side."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import BrowserContext, Locator, Page, Route, expect

from realtime.client import post
from tests.browser.chat_page import message, open_chat, open_tab, send
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PROJECTOR = {"width": 1280, "height": 720}
PHONE = {"width": 390, "height": 844}


async def open_page(
    context: BrowserContext, server: Server, transport: str, room: str, size: dict[str, int]
) -> Page:
    page = await open_chat(context, server.url, transport, room)
    await page.set_viewport_size(size)  # type: ignore[arg-type]
    return page


def linked(page: Page, selector: str) -> Locator:
    return page.locator(f"{selector}.linked")


def arrow(page: Page, label: str) -> Locator:
    return page.locator("#sequence .arrow").filter(has_text=label)


async def test_the_workspace_is_one_screen_of_a_projector_and_works_by_keyboard(
    server: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    page = await open_page(context, server, "short_polling", room, PROJECTOR)
    await page.locator("#interval").fill("0.2")
    await send(page, "by keyboard")
    await expect(message(page, "by keyboard")).not_to_have_attribute("data-state", "pending")
    used = "#send, #player .replay, #sequence .box, #wire .wire-box, #interval, .network-choice"
    for element in await page.locator(used).all():
        box = await element.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 720, await element.get_attribute("class")
    lefts = [await left(page.locator(one)) for one in ("#chat", "#sequence", "#wire")]
    assert lefts == sorted(lefts)

    # All bytes are one tab stop, and arrow keys move inside.
    await page.locator("#player .pause").click()
    await expect(page.locator('#wire .wire-part[tabindex="0"]')).to_have_count(1)
    assert await page.locator("#wire .wire-part").count() > 20
    await page.locator(".hex").focus()
    await page.keyboard.press("Tab")
    await expect(page.locator("#wire .wire-part").first).to_be_focused()
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#wire .wire-part").nth(1)).to_be_focused()
    await expect(page.locator("#wire .wire-explanation")).to_contain_text("Host")
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("#wire li").nth(1).locator(".wire-part").first).to_be_focused()
    await expect(linked(page, "#sequence .arrow")).to_have_count(1)
    await expect(page.locator('#wire .wire-part[tabindex="0"]')).to_be_focused()
    await page.keyboard.press("Tab")
    assert not await page.evaluate("document.activeElement.matches('.wire-part')")

    # The messages are one tab stop, too.
    await page.locator("#log").focus()
    await page.keyboard.press("ArrowUp")
    await expect(message(page, "by keyboard")).to_be_focused()
    post_arrow = arrow(page, "POST …/messages")
    await expect(post_arrow).to_have_class("arrow up request linked")
    assert console_errors == []


async def left(element: Locator) -> float:
    box = await element.bounding_box()
    assert box is not None
    return box["x"]


async def test_a_phone_shows_the_chat_first_and_the_other_views_in_tabs(
    server: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    for n in range(40):
        await post(server.url, room, text=f"history {n}", client=f"c{n}")
    page = await open_page(context, server, "socketio", room, PHONE)
    chat, sequence, wire = (page.locator(one) for one in ("#chat", "#sequence", "#wire"))
    await send(page, "small")
    await expect(message(page, "small")).to_be_in_viewport()
    await expect(page.locator("#send")).to_be_in_viewport()
    await expect(sequence).to_be_hidden()
    await message(page, "small").click()
    await open_tab(page, "Sequence diagram")
    await expect(linked(page, "#sequence .arrow").first).to_be_in_viewport()
    await expect(chat).to_be_hidden()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="Every byte")).to_be_focused()
    await expect(linked(page, "#wire li").first).to_be_in_viewport()
    await expect(sequence).to_be_hidden()
    # A wide screen shows all three.
    await page.set_viewport_size(PROJECTOR)  # type: ignore[arg-type]
    for view in (chat, sequence, wire):
        await expect(view).to_be_in_viewport()

    # The lesson has the first packets, whatever followed; and the page is not endless.
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    await open_tab(page, "A closer look")
    for step in ("hello", "open", "upgrade", "event"):
        line = page.locator(f'#lesson [data-step="lesson.socketio.{step}"]').first
        await expect(line).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollHeight") < 3_500
    lines = 'getComputedStyle(document.querySelector("#lesson td:nth-child(4)")).whiteSpace'
    assert await page.evaluate(lines) == "nowrap"
    assert console_errors == []


async def test_an_error_that_has_passed_is_not_shown_any_more(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await open_page(context, server, "long_polling", room, PROJECTOR)
    refused = []

    async def refuse(route: Route) -> None:
        (secret,) = parse_qs(urlsplit(route.request.url).query)["secret"]
        refused.append(route.request.post_data_json | {"secret": secret})
        await route.abort()

    await context.route("**/messages*", refuse)
    await send(page, "again")
    await expect(page.locator("#error")).to_contain_text("cannot be reached")
    # The server has the message after all, and only its response was lost.
    await post(server.url, room, **refused[0])
    await expect(page.locator("#messages [data-state]")).to_have_count(0)
    await expect(page.locator("#error")).to_be_empty()
    await context.unroute("**/messages*")
    # The code of an error is in it once.
    await send(page, "汉" * 1400)
    await expect(page.locator("#error")).to_contain_text("too_long")
    assert (await page.locator("#error").inner_text()).count("too_long") == 1
    # This one does not pass: the message was refused.
    await send(page, "short")
    await expect(message(page, "short")).not_to_have_attribute("data-state", "pending")
