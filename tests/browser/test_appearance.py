"""The appearance of the pages: three languages, light and dark, on a projector and on a phone."""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect

from benchmarks.clients import post
from realtime.web import pages
from tests.browser.chat_page import TRANSPORTS
from tests.server_process import ROOT, Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LANGUAGES = ["en", "zh-Hans", "zh-Hant"]
WORDS = {
    language: json.loads((pages.folder() / "i18n" / f"{language}.json").read_text("utf-8"))
    for language in LANGUAGES
}
# What a page shows in place of a missing text.
KEY = re.compile(r"\b(chat|page|part|header|foot|trouble|sequence|wire|lesson|network)\.[a-z]")

# Half past three, by the page's own function, and as each language writes it.
TIME = """async () => {
  const { time } = await import("/demos/static/i18n.js");
  return time(Date.UTC(2026, 10, 23, 7, 30));
}"""
TIMES = {"en": r"3:30:00\sPM", "zh-Hans": "15:30:00", "zh-Hant": "下午3:30:00"}

Open = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="session")
async def new_context(
    browser: Browser, console_errors: list[str]
) -> AsyncIterator[Callable[..., Awaitable[BrowserContext]]]:
    """Create a browser context with these options, such as locale or viewport."""
    contexts = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            console_errors.append(message.text)

    async def make(**options: Any) -> BrowserContext:
        context = await browser.new_context(**options)
        context.on("console", listen)
        context.on("weberror", lambda error: console_errors.append(str(error.error)))
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        await context.close()


async def open_page(context: BrowserContext, server: Server, path: str, query: str = "") -> Page:
    page = await context.new_page()
    await page.goto(f"{server.url.rstrip('/')}{path}?room={uuid.uuid4().hex}&name=Ada{query}")
    return page


async def open_chat(
    context: BrowserContext, server: Server, transport: str = "websocket", query: str = ""
) -> Page:
    page = await open_page(context, server, f"/demos/{transport}.html", query)
    await expect(page.locator("#state")).to_have_attribute("data-state", "open")
    return page


# --- the languages -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transport", "language"), list(zip(TRANSPORTS[1::3], LANGUAGES, strict=True))
)
async def test_a_page_is_in_the_language_of_its_url(
    server: Server, new_context: Any, console_errors: list[str], transport: str, language: str
) -> None:
    context = await new_context(timezone_id="Asia/Taipei")
    page = await open_chat(context, server, transport, f"&lang={language}")
    words = WORDS[language]
    await expect(page.locator("html")).to_have_attribute("lang", language)
    await expect(page.locator("#state-text")).to_have_text(words["chat.state.open"])
    await expect(page.locator("h1")).to_contain_text(words[f"page.{transport}.name"])
    await expect(page.locator("#send")).to_have_text(words["chat.send"])
    await expect(page.locator("#text")).to_have_attribute("placeholder", words["chat.say"])
    drawing = page.locator("#idea svg")
    await expect(drawing).to_have_attribute("aria-label", words[f"page.{transport}.drawing"])
    await expect(drawing).to_contain_text(words["page.drawing.time"])
    assert (await page.title()).startswith(words[f"page.{transport}.title"])
    await expect(page.locator("body")).not_to_contain_text(KEY)
    assert re.fullmatch(TIMES[language], str(await page.evaluate(TIME)))
    assert console_errors == []


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("zh-TW", "zh-Hant"),
        ("fr", "en"),
    ],
)
async def test_a_page_is_in_the_language_of_its_browser(
    server: Server, new_context: Any, locale: str, language: str
) -> None:
    page = await open_chat(await new_context(locale=locale), server)
    await expect(page.locator("html")).to_have_attribute("lang", language)
    await expect(page.locator("#send")).to_have_text(WORDS[language]["chat.send"])


@pytest.mark.parametrize("asked", ["constructor", "%25%25"])
async def test_an_unknown_language_does_no_harm(
    server: Server, new_context: Any, console_errors: list[str], asked: str
) -> None:
    page = await open_chat(await new_context(), server, query=f"&lang={asked}")
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    assert console_errors == []


async def test_a_chosen_language_is_stored(server: Server, new_context: Any) -> None:
    context = await new_context(locale="zh-CN")
    page = await open_chat(context, server, query="&lang=en")
    menu = page.locator("#language")
    assert await menu.locator("option").all_text_contents() == ["English", "简体中文", "繁體中文"]
    await expect(menu).to_have_value("en")
    await menu.select_option("zh-Hant")
    await expect(page.locator("html")).to_have_attribute("lang", "zh-Hant")
    await expect(page.locator("#send")).to_have_text("傳送")
    assert "lang=" not in page.url
    assert "room=" in page.url
    other = await open_chat(context, server, "sse")
    await expect(other.locator("html")).to_have_attribute("lang", "zh-Hant")


@pytest.mark.parametrize("how", ["gone", "broken"])
async def test_without_its_catalogue_a_page_is_in_english(
    server: Server, new_context: Any, how: str
) -> None:
    async def answer(route: Route) -> None:
        if how == "gone":
            await route.abort()
        else:
            await route.fulfill(body='{"chat.send": "发', content_type="application/json")

    context = await new_context()
    await context.route("**/i18n/zh-Hans.json", answer)
    page = await open_chat(context, server, query="&lang=zh-Hans")
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await expect(page.locator("#state-text")).to_have_text("Open")
    await expect(page.locator("#send")).to_be_visible()
    await expect(page.locator("#send")).to_have_text("Send")


async def test_no_english_is_shown_while_the_catalogue_loads(
    server: Server, new_context: Any
) -> None:
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        await released.wait()
        await route.continue_()

    context = await new_context()
    await context.route("**/i18n/zh-Hans.json", hold)
    page = await context.new_page()
    await page.clock.install()
    await page.goto(f"{server.url.rstrip('/')}/demos/sse.html?lang=zh-Hans")
    await expect(page.locator("h1")).to_be_hidden()
    # Only for a moment: English is better than an empty page.
    await page.clock.fast_forward(2_000)
    await expect(page.locator("h1")).to_be_visible()
    released.set()
    await expect(page.locator("h1")).to_contain_text("服务器发送事件")


# --- messages to the user ------------------------------------------------------------------------


async def test_a_refusal_is_shown_in_the_user_s_language_with_its_code(
    server: Server, new_context: Any
) -> None:
    page = await open_chat(await new_context(), server, query="&lang=zh-Hans")
    await page.fill("#text", "汉" * 1400)
    await page.press("#text", "Enter")
    await expect(page.locator("#error")).to_contain_text("太长了。（too_long）")
    # The server's own message is more exact, and English.
    await expect(page.locator("#error q")).to_have_attribute("lang", "en")
    await expect(page.locator("#error q")).to_contain_text("4096 bytes")
    await expect(page.locator("#messages [data-state=refused]")).to_contain_text(
        "没有发出：太长了。"
    )


async def test_an_unreachable_server_is_reported_in_the_user_s_language(
    server: Server, new_context: Any
) -> None:
    context = await new_context()
    page = await open_chat(context, server, "long_polling", "&lang=zh-Hant")
    await context.route("**/long_polling?*", lambda route: route.abort())
    await context.route("**/messages*", lambda route: route.abort())
    await page.fill("#text", "有人嗎")
    await page.press("#text", "Enter")
    await expect(page.locator("#error")).to_contain_text("連不上伺服器。")
    await expect(page.locator("#messages [data-state=pending]")).to_contain_text(
        "等待傳送：連不上伺服器。會再送一次。"
    )
    await page.reload()
    await expect(page.locator("#state-text")).to_have_text("連不上伺服器。等待重新連線")
    await expect(page.locator("#countdown")).to_contain_text("秒")


async def test_joins_and_delays_are_shown_in_the_user_s_language(
    server: Server, new_context: Any
) -> None:
    room = uuid.uuid4().hex
    await post(server.url, room, text="早", name="Ben", client="ben")
    page = await (await new_context()).new_page()
    await page.goto(f"{server.url.rstrip('/')}/demos/sse.html?room={room}&name=Ada&lang=zh-Hans")
    said = page.locator("#messages li[data-kind=say]")
    await expect(said).to_contain_text("你来之前，")
    await expect(page.locator("#messages li[data-kind=join]")).to_have_text("Ada 经由 sse 加入")
    await expect(page.locator("#members")).to_contain_text("（你）")
    await page.fill("#text", "你好")
    await page.press("#text", "Enter")
    await expect(said.filter(has_text="你好")).to_contain_text(re.compile(r"发出→显示 \S+ 毫秒"))


async def test_a_user_without_a_name_gets_one_in_the_page_s_language(
    server: Server, new_context: Any
) -> None:
    page = await (await new_context()).new_page()
    await page.goto(f"{server.url.rstrip('/')}/demos/websocket.html?lang=zh-Hant")
    await expect(page.locator("#name")).to_have_value(re.compile("^.+的.+$"))


# --- light, dark, large --------------------------------------------------------------------------


async def background(page: Page) -> str:
    return str(await page.evaluate("getComputedStyle(document.body).backgroundColor"))


LIGHT, DARK = "rgb(255, 255, 255)", "rgb(21, 24, 28)"


@pytest.mark.parametrize(("scheme", "colour"), [("light", LIGHT), ("dark", DARK)])
async def test_a_page_has_the_system_s_theme_until_the_user_chooses_one(
    server: Server, new_context: Any, scheme: str, colour: str
) -> None:
    page = await open_chat(await new_context(color_scheme=scheme), server)
    assert await background(page) == colour
    for theme, chosen in (("light", LIGHT), ("dark", DARK), ("auto", colour)):
        await page.locator("#theme").select_option(theme)
        assert await background(page) == chosen
        await page.reload()
        await expect(page.locator("#theme")).to_have_value(theme)
        assert await background(page) == chosen


async def test_theme_and_size_are_set_before_any_module_runs(
    server: Server, new_context: Any
) -> None:
    context = await new_context(color_scheme="light")
    page = await open_chat(context, server)
    await page.locator("#theme").select_option("dark")
    await page.locator("#big").click()
    await context.route("**/chat.js", lambda route: route.abort())
    await page.reload()
    assert await background(page) == DARK
    await expect(page.locator("html")).to_have_attribute("data-big", "")


async def test_big_type_is_larger_and_stored(server: Server, new_context: Any) -> None:
    context = await new_context(viewport={"width": 1280, "height": 720})
    page = await open_chat(context, server)
    size = "parseFloat(getComputedStyle(document.querySelector('#idea p')).fontSize)"
    before = await page.evaluate(size)
    await page.locator("#big").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#big")).to_have_attribute("aria-pressed", "true")
    assert await page.evaluate(size) > 1.3 * before
    await page.reload()
    await expect(page.locator("#big")).to_have_attribute("aria-pressed", "true")
    assert await page.evaluate(size) > 1.3 * before
    await page.locator("#big").click()
    assert await page.evaluate(size) == before


# --- the layout ----------------------------------------------------------------------------------


PATHS = ["/", "/demos/lecturer.html", "/demos/sticky.html"]
PATHS += [f"/demos/{transport}.html" for transport in TRANSPORTS]
# Kept after the tests.
SCREENSHOTS = ROOT / "test-output"


@pytest.mark.parametrize(
    ("size", "big", "language"),
    [
        ((390, 844), True, "en"),
        ((1280, 720), False, "zh-Hant"),
    ],
)
async def test_no_page_is_wider_than_its_screen(
    server: Server, new_context: Any, size: tuple[int, int], big: bool, language: str
) -> None:
    width, height = size
    theme = "dark" if big else "light"
    viewport = {"width": width, "height": height}
    context = await new_context(viewport=viewport, color_scheme=theme)
    if big:
        await context.add_init_script("localStorage.setItem('realtime.big', 'yes')")
    page = await context.new_page()
    for path in PATHS:
        room = uuid.uuid4().hex
        url = f"{server.url.rstrip('/')}{path}?room={room}&name=Ada&lang={language}"
        await page.goto(url)
        await expect(page.locator("#ways a")).to_have_count(len(TRANSPORTS))
        if path.removeprefix("/demos/").removesuffix(".html") in TRANSPORTS:
            await expect(page.locator("#state")).to_have_attribute("data-state", "open")
            await page.evaluate(
                "document.querySelectorAll('details').forEach((d) => d.open = true)"
            )
        # For people: a test cannot judge the appearance.
        name = path.strip("/").replace("demos/", "").removesuffix(".html") or "lab"
        await page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{theme}-{language}.png")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, path


# --- navigation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/demos/sse.html"])
async def test_the_header_links_to_all_pages_and_keeps_the_room(
    server: Server, new_context: Any, console_errors: list[str], path: str
) -> None:
    page = await open_page(await new_context(), server, path, "&lang=zh-Hant&rate=3")
    for there in ["/", *(f"/demos/{t}.html" for t in TRANSPORTS), "/demos/lecturer.html"]:
        link = page.locator(f"header a[href^='{there}?']")
        await expect(link).to_have_count(1)
        href = str(await link.get_attribute("href"))
        assert all(part in href for part in ("room=", "name=Ada", "lang=zh-Hant"))
        assert "rate" not in href
        here = "page" if there == path else None
        assert await link.get_attribute("aria-current") == here
    assert console_errors == []


async def test_a_keyboard_user_reaches_the_chat_at_once(server: Server, new_context: Any) -> None:
    page = await open_chat(await new_context(), server)
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await expect(page.locator(".skip")).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.locator("#name")).to_be_focused()
    for _ in range(4):  # room, join, log, text
        await page.keyboard.press("Tab")
    await expect(page.locator("#text")).to_be_focused()
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    await page.keyboard.type("by keyboard")
    await page.keyboard.press("Enter")
    await expect(page.locator("#messages li[data-kind=say]")).to_contain_text("by keyboard")
