"""The lecturer's page and the exercises, as a lecturer uses them in class.

test_appearance.py tests that every page has exercises.
"""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.async_api import BrowserContext, Frame, Page, expect

from realtime.client import post
from tests.browser.chat_page import message, open_chat, open_tab, send
from tests.browser.tabs import new_page
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

KEY = "sesame"


@pytest.fixture(scope="session")
def school() -> Iterator[Server]:
    """A server that other machines can reach, with the network that the plan needs."""
    options = ("--host", "0.0.0.0", "--key", KEY, "--networks", "1")
    with Server("--hub", "memory", *options) as server:
        server.url = f"http://127.0.0.1:{server.port}"
        yield server


async def open_lecturer(context: BrowserContext, url: str, room: str, tail: str = "") -> Page:
    page = await new_page(context)
    await page.goto(f"{url}/demos/lecturer.html?room={room}{tail}")
    await expect(page.locator("#steps tr")).to_have_count(10)
    return page


# --- resetting the room --------------------------------------------------------------------------

# The same in the dialog and, afterwards, in the chat.
RESET = "Gap (unknown): this room was reset, or its message broker restarted"


async def test_a_lecturer_with_the_key_can_reset_the_room_after_a_confirmation(
    school: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    ada = await open_chat(context, school.url, "websocket", room)
    await send(ada, "of the class before")
    await expect(message(ada, "of the class before")).to_have_count(1)
    page = await open_lecturer(context, school.url, room, f"#key={KEY}")
    gaps = ada.locator("#messages li[data-kind=gap]")

    await page.click("#reset")
    await expect(page.locator("#sure")).to_contain_text(room)
    await expect(page.locator("#sure")).to_contain_text(RESET)
    await page.click("#sure [value=no]")
    await page.click("#reset")
    await page.press("body", "Escape")
    await expect(page.locator("#sure")).to_be_hidden()
    await expect(gaps).to_have_count(0)

    await page.click("#reset")
    await page.click("#sure [value=yes]")
    await expect(page.locator("#reset-state")).to_contain_text(room)
    await expect(gaps).to_contain_text(RESET)
    await send(ada, "of this class")
    await expect(message(ada, "of this class")).to_have_count(1)
    late = await open_chat(context, school.url, "sse", room, "Ben")
    await expect(message(late, "of this class")).to_have_count(1)
    await expect(message(late, "of the class before")).to_have_count(0)
    # The projector shows the address bar.
    assert KEY not in page.url
    assert console_errors == []


async def test_a_wrong_key_is_refused(school: Server, context: BrowserContext, room: str) -> None:
    page = await open_lecturer(context, school.url, room, "#key=guessed")
    await page.click("#reset")
    await page.click("#sure [value=yes]")
    await expect(page.locator("#reset-state")).to_contain_text("bad_key")


# --- the address for phones ----------------------------------------------------------------------


async def test_without_a_key_the_page_shows_addresses_for_phones_and_where_to_find_the_key(
    school: Server, context: BrowserContext, console_errors: list[str]
) -> None:
    room = "聊天室"
    page = await open_lecturer(context, school.url, room)
    address = page.locator("#address a")
    await expect(address).to_have_attribute(
        "href", re.compile(rf"/demos/class\.html\?.*{quote(room)}")
    )
    assert f":{school.port}/" in str(await address.text_content())
    await expect(page.locator("#unreachable")).to_be_hidden()
    await expect(page.locator("#reset")).to_be_disabled()
    await expect(page.locator("#keyless")).to_contain_text("for lecturers")
    await expect_picture(page, "#code")
    await page.select_option("#target", "demos/lab.html")
    lab = re.compile(rf"{school.port}/demos/lab\.html\?room={quote(room)}$")
    await expect(address).to_have_attribute("href", lab)
    await expect_picture(page, "#code")
    # Each group has a room of its own.
    await page.select_option("#target", "demos/class.html")
    await page.fill("#count", "3")
    cards = page.locator("#cards li")
    await expect(cards).to_have_count(3)
    await expect(cards.nth(2)).to_contain_text("聊天室-3")
    await expect_picture(page, "#cards img")
    path = await cards.nth(2).locator("a").evaluate("link => link.pathname + link.search")
    group = await new_page(context)
    await group.goto(school.url + path)
    await expect(group.locator("#room-name")).to_have_text("聊天室-3")
    assert console_errors == []


async def expect_picture(page: Page, image: str) -> None:
    drawn = "image => image.decode().then(() => image.naturalWidth)"
    assert await page.locator(image).first.evaluate(drawn) > 0


async def test_an_unreachable_server_shows_the_option_that_opens_it_and_the_lesson_plan(
    server: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    page = await open_lecturer(context, server.url, room)
    await expect(page.locator("#unreachable")).to_contain_text("--host 0.0.0.0")
    await expect(page.locator("#reachable")).to_be_hidden()
    projector = await new_page(context)
    await projector.goto(f"{server.url}/demos/projector.html?room={room}&lang=en")
    hidden = '(ids) => ids.map((id) => document.getElementById(id).hidden).join(" ")'
    ids = ["join", "code", "address", "closed"]
    await projector.wait_for_function(
        f"(ids) => ({hidden})(ids) === 'true true true false'", arg=ids
    )
    assert "Stop it (Ctrl+C)" in str(await projector.text_content("#closed"))
    await expect(page.locator("#cards a")).to_have_count(6)
    # The plan links to the pages in the class's room.
    await expect(page.locator("#steps tr")).to_have_count(10)
    link = page.locator("a.go").first
    await expect(link).to_have_attribute(
        "href", f"{server.url}/demos/short_polling.html?room={room}"
    )
    assert console_errors == []


# --- the exercises -------------------------------------------------------------------------------


async def test_a_prediction_is_stored_in_the_browser_and_judged_when_the_answer_opens(
    server: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    page = await open_chat(context, server.url, "long_polling", room)
    first, second = (page.locator("#exercises .exercise").nth(n) for n in (0, 1))
    await open_tab(page, "Exercise 1")
    bodies: list[str] = []
    page.on("request", lambda request: bodies.append(request.post_data or ""))
    await first.locator("input[value=a]").check()
    await first.locator(".because input").fill("<b>one way</b> is one way")
    await first.locator("summary").click()
    await expect(first.locator(".verdict")).to_have_attribute("data-how", "other")
    await expect(first.locator(".verdict")).to_contain_text("100 ms both")
    await expect(first.locator(".verdict")).to_contain_text("100 and 300 ms")
    await open_tab(page, "Exercise 2")
    await second.locator("summary").click()
    await expect(second.locator(".verdict")).to_have_attribute("data-how", "unpredicted")

    await page.reload()
    await open_tab(page, "Exercise 1")
    await expect(first.locator("input[value=a]")).to_be_checked()
    await expect(first.locator(".because input")).to_have_value("<b>one way</b> is one way")
    await first.locator("input[value=c]").check()
    await first.locator("summary").click()
    await expect(first.locator(".verdict")).to_have_attribute("data-how", "right")

    # Invalid stored data breaks nothing.
    await page.evaluate("localStorage.setItem('realtime.exercise.long_heads', 'no JSON {')")
    await page.reload()
    await expect(page.locator("#exercises .exercise")).to_have_count(4)
    assert not any("one way" in body for body in bodies)
    assert console_errors == []
    await page.close()


# --- the projector -------------------------------------------------------------------------------

# [size in px of the projector's screen, text] of all visible text; `scale` is that of a frame.
TEXTS = """(scale) => [...document.querySelectorAll("body *")]
  .filter((one) => one.checkVisibility({ visibilityProperty: true })
    && [...one.childNodes].some(({ nodeType, data }) => nodeType === Node.TEXT_NODE && data.trim()))
  .map((one) => {
    const zoom = one.getScreenCTM?.().a ?? 1; // of a drawing
    return [scale * zoom * parseFloat(getComputedStyle(one).fontSize), one.textContent.trim()];
  })"""
SCALE = """() => {
  const page = document.getElementById("page");
  return page.getBoundingClientRect().width / page.offsetWidth;
}"""
PARTS = "() => ['#text', '#messages li:last-child'].map((part) => document.querySelector(part))"
IN_VIEW = f"""() => ({PARTS})().every((part) => {{
  const box = part?.getBoundingClientRect();
  return box?.height > 0 && box.top >= 0 && box.bottom <= innerHeight;
}})"""


async def test_all_that_the_class_reads_is_large_in_each_step_of_the_plan(
    school: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    lecturer = await open_lecturer(context, school.url, room, f"&lang=zh-Hans#key={KEY}")
    async with context.expect_page() as opened:
        await lecturer.click("#project")
    projector = await opened.value
    await projector.set_viewport_size({"width": 1280, "height": 720})
    steps = lecturer.locator("#steps .step")
    shown = set()
    for number in range(await steps.count()):
        await steps.nth(number).click()
        await expect(projector.locator("#title")).to_have_text(await steps.nth(number).inner_text())
        view = await projector.evaluate("document.querySelector('main > :not([hidden])').id")
        shown.add(view)
        if view == "view-page":
            await expect_framed_page_is_large(projector, school, room)
        await expect_large(projector)
    assert shown == {"view-join", "view-page", "view-class", "view-question"}
    await steps.nth(1).click()
    # The vote, the bars, the experiment, the result: each by what no beat before shows.
    for part in ("#view-vote", "#choices .count:not(:empty)", "#view-class", "#choices .right"):
        await lecturer.press("body", "ArrowRight")
        await expect(projector.locator(part).first).to_be_visible()
        await expect_large(projector)
    assert console_errors == []


async def expect_large(page: Page | Frame, scale: float = 1) -> None:
    texts = await page.evaluate(TEXTS, scale)
    assert texts
    assert [text for text in texts if text[0] < 28] == []


async def expect_framed_page_is_large(projector: Page, server: Server, room: str) -> None:
    """It has no navigation, and its text field and newest message are in view."""
    frame = projector.frames[1]
    await expect(frame.locator("#state")).to_have_attribute("data-state", "open")
    await post(server.url, room, text="the newest")
    await expect(frame.locator("#messages li").last).to_contain_text("the newest")
    await frame.wait_for_function(IN_VIEW)
    await expect(frame.locator("header, footer").first).to_be_hidden()
    await expect(frame.locator("html")).to_have_attribute("lang", "zh-Hans")
    scale = await projector.evaluate(SCALE)
    await expect_large(frame, scale)
    await frame.locator("#views [role=tab]").nth(1).click()
    await expect(frame.locator("#sequence svg .label").first).to_be_visible()
    await expect_large(frame, scale)


# --- moderation ----------------------------------------------------------------------------------


async def test_the_key_removes_mutes_and_locks_with_the_keyboard(
    school: Server, clock_context: BrowserContext, room: str
) -> None:
    eve = await open_chat(clock_context, school.url, "websocket", room, "Eve")
    page = await open_lecturer(clock_context, school.url, room, f"#key={KEY}")
    mute = page.get_by_role("button", name="Mute Eve", exact=True)
    await mute.press("Enter")
    await expect(mute).to_have_attribute("aria-pressed", "true")
    await expect(mute).to_be_focused()
    await send(eve, "hey")
    await expect(eve.locator("#error")).to_contain_text("muted you")
    await mute.press("Enter")
    await expect(mute).to_have_attribute("aria-pressed", "false")
    await page.get_by_role("button", name="Remove Eve").press("Enter")
    await expect(eve.locator("#state-text")).to_contain_text("removed you")
    await page.get_by_role("button", name="Readmit Eve").press("Enter")
    await expect(page.locator("#moderation [data-part=removed] li")).to_have_count(0)
    await page.get_by_role("button", name="Approve each name").press("Enter")
    new = await clock_context.new_page()
    await new.goto(f"{school.url}/demos/websocket.html?room={room}&name=New")
    await page.clock.fast_forward(3_000)
    await page.get_by_role("button", name="Approve New").press("Enter")
    await expect(new.locator("#state")).to_have_attribute("data-state", "open")
    await page.get_by_role("button", name="Approve each name").press("Enter")
    await page.get_by_role("button", name="Lock the room").press("Enter")
    late = await clock_context.new_page()
    await late.goto(f"{school.url}/demos/sse.html?room={room}&name=Late")
    await expect(late.locator("#state-text")).to_contain_text("locked this room")
    await expect(page.locator("#hub")).to_contain_text("--access class")
