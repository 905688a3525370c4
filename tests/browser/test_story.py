"""The first page: from polling to WebTransport, step by step, with the real traffic as dots."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, Request, WebSocket, expect

from realtime.client import get_json, post
from tests.browser.chat_page import HARD, TRANSPORTS
from tests.browser.tabs import new_page
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# What moves, and how, as soon as something does.
FIRST_ANIMATIONS = """() => new Promise((done) => {
  const others = ["offset", "computedOffset", "easing", "composite"];
  const look = () => {
    const effects = document.getAnimations().map(({ effect }) => effect);
    if (!effects.length) return requestAnimationFrame(look);
    const names = new Set(effects.flatMap((one) => one.getKeyframes()).flatMap(Object.keys));
    others.forEach((other) => names.delete(other));
    done([effects.map((one) => one.getTiming().easing), [...names].sort()]);
  };
  look();
})"""
# A dot is there for less than a second: a slow test would miss it.
RECORD_DOTS = """window.dots = new Set();
new MutationObserver((changes) => {
  for (const { addedNodes } of changes) {
    for (const { className, textContent } of addedNodes) {
      const label = textContent.replace(/[\\d,.]+ k?B/, "");
      if (/^dot /.test(className)) dots.add(`${className}: ${label}`);
    }
  }
}).observe(document.querySelector("#lanes"), { childList: true, subtree: true });"""

STEPS = ["", *(name.replace("_", "-") for name in TRANSPORTS), "all-together", "which-one"]
DESKTOP, PHONE = (1280, 720), (390, 844)
LARGEST = 200_000  # bytes of the first load


@pytest.fixture(scope="module")
def story() -> Iterator[Server]:
    """A server for these tests alone: they count its connections."""
    with Server("--hub", "memory") as server:
        yield server


async def open_story(
    context: BrowserContext, server: Server, room: str, step: str = "", size: Any = DESKTOP
) -> Page:
    page = await new_page(context)
    await page.set_viewport_size({"width": size[0], "height": size[1]})
    await page.goto(story_url(server, room, step))
    return page


def story_url(server: Server, room: str, step: str = "") -> str:
    return f"{server.url.rstrip('/')}/?room={room}#{step}"


def lane(page: Page, transport: str) -> Locator:
    return page.locator(f".lane[data-transport={transport}]")


async def expect_open(page: Page, *transports: str) -> None:
    await expect(page.locator(".lane")).to_have_count(len(transports))
    for transport in transports:
        await expect(lane(page, transport)).to_have_attribute("data-state", "open")


async def expect_landed(page: Page, transport: str, text: str) -> None:
    """Wait until a dot has brought the message; the clock of the page skips its slow motion."""
    last = lane(page, transport).locator(".last")
    for _ in range(20):
        try:
            return await expect(last).to_have_text(text, timeout=200)
        except AssertionError:
            await page.clock.fast_forward(2_000)
    await expect(last).to_have_text(text)


async def expect_fits(page: Page, *, scrolls: bool = False) -> None:
    width, height, *screen = await page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight,"
        " innerWidth, innerHeight]"
    )
    assert width <= screen[0], page.url
    assert scrolls or height <= screen[1], page.url


def in_bytes(text: str) -> float:
    value, unit = text.split()
    return float(value) * (1000 if unit == "kB" else 1)


async def test_one_click_shows_how_two_transports_differ(
    story: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    page = await open_story(context, story, room)
    await expect_open(page, "short_polling", "websocket")
    polling, socket = lane(page, "short_polling"), lane(page, "websocket")
    # Before the click: empty responses, as dots and as marks, and nothing on the WebSocket.
    await expect(polling.locator(".dot.empty.down")).not_to_have_count(0)
    await expect(polling.locator(".marks .empty")).not_to_have_count(0)
    await expect(socket.locator(".marks i")).to_have_count(0)
    await page.evaluate(RECORD_DOTS)
    await page.click("#send")
    for one in (polling, socket):
        await expect(one.locator(".last")).to_have_text("Hello!")
        await expect(one.locator(".marks .message")).to_have_count(1)
        await expect(one.locator(".delay")).to_have_text(re.compile(r"\d"))
        await expect(one.locator(".bytes-label")).to_have_text("bytes per message")
    await expect(page.locator("#said")).to_contain_text("The same message took")
    # Both have read the message, so neither server still has one to deliver.
    await expect(page.locator(".lane[data-stored]")).to_have_count(0)
    expected = [
        *(
            "dot message up: POST, message",
            "dot other down: 201, stored",
            "dot message down: 200, message",
        ),
        *("dot message up: message", "dot other down: ack", "dot message down: message"),
    ]
    # The response to the POST may come after the message itself.
    await page.wait_for_function(
        "expected => { const all = [...dots].map((dot) => dot.trim());"
        " return expected.every((dot) => all.includes(dot)); }",
        arg=expected,
    )
    spent = [in_bytes(await one.locator(".bytes").inner_text()) for one in (polling, socket)]
    assert spent[0] > 2 * spent[1] > 0
    # Both lanes sent it by their own transport, with one id: the room has it once.
    history = (await get_json(story.url, f"/rooms/{room}/short_polling"))["events"]
    assert [event["text"] for event in history] == ["Hello!"]
    await expect_fits(page)
    assert console_errors == []


async def test_every_transport_has_a_step_with_its_lane_alone(
    story: Server, clock_context: BrowserContext, console_errors: list[str], room: str
) -> None:
    page = await open_story(clock_context, story, room)
    await expect_open(page, "short_polling", "websocket")
    connections = Connections(page)
    for transport, hash in zip(TRANSPORTS, STEPS[1:], strict=False):
        await page.keyboard.press("ArrowRight")
        await expect(page).to_have_url(re.compile(f"#{hash}$"))
        await expect(page.locator(".step:visible .claim")).to_be_visible()
        await expect_open(page, transport)
        await page.click("#send")
        await expect_landed(page, transport, "Hello!")
        await expect(lane(page, transport).locator(".marks .message")).to_have_count(1)
        await expect_fits(page)
    await page.click("#next")
    await expect_open(page, *TRANSPORTS)
    # The heading says "per message", and there was none.
    assert set(await page.locator(".lane .bytes").all_text_contents()) == {"–"}
    await page.fill("#text", HARD)
    await page.click("#send")
    for transport in TRANSPORTS:
        await expect_landed(page, transport, HARD)
    await expect_fits(page)
    await page.click("#next")
    await expect(page.locator(".step:visible table a")).to_have_count(len(TRANSPORTS))
    await expect(page.locator("#next")).to_have_attribute("href", re.compile("/demos/lab.html"))
    await expect_fits(page)
    await connections.expect_none()
    await page.click("#back")
    await expect_open(page, *TRANSPORTS)
    assert console_errors == []
    await page.close()


class Connections:
    """The requests and sockets of a page that are not finished, except the traffic capture."""

    def __init__(self, page: Page) -> None:
        self.open: list[Any] = []
        page.on("request", self._opened)
        page.on("websocket", self._opened)
        page.on("requestfinished", self._closed)
        page.on("requestfailed", self._closed)

    def _opened(self, one: Request | WebSocket) -> None:
        if "/wire/" not in one.url:
            self.open.append(one)
        if isinstance(one, WebSocket):
            one.on("close", self._closed)

    def _closed(self, one: Request | WebSocket) -> None:
        if one in self.open:
            self.open.remove(one)

    async def expect_none(self) -> None:
        """A class of forty would keep hundreds of connections that nobody looks at."""
        for _ in range(200):
            if not (still_open := [one for one in self.open if not is_removed(one)]):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"still open: {[one.url for one in still_open]}")


def is_removed(one: Request | WebSocket) -> bool:
    """Whether it belongs to a frame that was removed, whose end Playwright 1.64 does not report."""
    return isinstance(one, Request) and one.frame.is_detached()


async def test_messages_of_others_are_shown_and_history_is_not(
    story: Server, context: BrowserContext, room: str
) -> None:
    await post(story.url, room, text="old")
    page = await open_story(context, story, room, "sse")
    await expect_open(page, "sse")
    await post(story.url, room, text="new")
    await expect(lane(page, "sse").locator(".last")).to_have_text("new")
    await expect(lane(page, "sse").locator(".marks i")).to_have_count(1)
    # A visitor of the story is no member of the room.
    assert (await get_json(story.url, f"/rooms/{room}/members"))["members"] == []


async def test_paused_dots_stand_still(story: Server, context: BrowserContext, room: str) -> None:
    page = await open_story(context, story, room, "short-polling")
    await expect_open(page, "short_polling")
    await expect(page.locator(".dot")).not_to_have_count(0)
    await page.click("#pause")
    states = "document.getAnimations().map((one) => one.playState)"
    assert set(await page.evaluate(states)) <= {"paused"}
    await expect(page.locator("#pause")).to_have_text("Continue")
    await page.click("#send")
    await expect(page.locator("#pause")).to_have_text("Pause")
    await expect(lane(page, "short_polling").locator(".last")).to_have_text("Hello!")


@pytest.mark.parametrize(
    ("motion", "easing"), [("reduce", "steps(3, jump-none)"), ("no-preference", "linear")]
)
async def test_a_dot_flies_without_layout_or_steps_where_motion_is_unwanted(
    story: Server, context: BrowserContext, room: str, motion: Any, easing: str
) -> None:
    page = await context.new_page()
    await page.emulate_media(reduced_motion=motion)
    await page.goto(story_url(story, room, "short-polling"))
    easings, properties = await page.evaluate(FIRST_ANIMATIONS)
    assert set(easings) == {easing}
    assert properties == ["opacity", "transform"]  # which the compositor animates


async def test_on_a_phone_the_lanes_are_stacked_and_nothing_is_too_wide(
    story: Server, context: BrowserContext, room: str
) -> None:
    page = await open_story(context, story, room, size=PHONE)
    await expect_open(page, "short_polling", "websocket")
    for target in ("#send", ".lane[data-transport=websocket]"):
        await expect(page.locator(target)).to_be_in_viewport(ratio=1)
    for step in STEPS:
        await page.goto(f"{page.url.split('#')[0]}#{step}")
        await expect(page.locator(f'.step[data-step="{step}"]')).to_be_visible()
        await expect(page.locator("#next")).to_be_in_viewport(ratio=1)
        await expect_fits(page, scrolls=step == "which-one")  # a table with a row per transport


async def test_without_scripts_all_steps_can_be_read(story: Server, browser: Browser) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await new_page(context)
    await page.goto(story.url)
    await expect(page.locator("noscript p")).to_be_visible()
    await expect(page.locator(".step:visible")).to_have_count(len(STEPS))
    await expect(page.locator(".claim:visible")).to_have_count(len(TRANSPORTS))
    await context.close()


async def test_its_first_load_is_small_and_has_no_waterfall(
    story: Server, own_context: BrowserContext, room: str
) -> None:
    page = await own_context.new_page()
    finished: list[Request] = []
    page.on("requestfinished", lambda request: finished.append(request))
    await page.goto(story_url(story, room))
    await expect_open(page, "short_polling", "websocket")
    sizes = [await request.sizes() for request in finished if f"/rooms/{room}" not in request.url]
    total = sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)
    assert len(sizes) > 20
    assert total <= LARGEST
    # Every module that the page loads is announced in its <head>, and no other one.
    loaded = {request.url for request in finished if request.resource_type == "script"}
    announced = await page.eval_on_selector_all(
        "link[rel=modulepreload], head script[src]",
        "all => all.map(({ href, src }) => href ?? src)",
    )
    assert loaded == set(announced)
