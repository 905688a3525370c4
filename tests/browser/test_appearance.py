"""The appearance of the pages: three languages, light and dark, on a projector and on a phone."""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import cycle
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Route, expect

from realtime.client import post
from realtime.web import pages
from tests.browser.chat_page import MODULE, TRANSPORTS
from tests.browser.conftest import new_context
from tests.browser.tabs import new_page
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LANGUAGES = ["en", "zh-Hans", "zh-Hant"]
WORDS = {
    language: json.loads((pages.folder() / "i18n" / f"{language}.json").read_text("utf-8"))
    for language in LANGUAGES
}
# What a page shows in place of a missing text.
KEY = re.compile(
    r"\b(chat|page|part|header|transport|story|foot|trouble|sequence|wire|lesson|network)\.[a-z]"
)

LIGHT_PAGE = "/demos/sticky.html"
# Half past three, by the page's own function, and as each language writes it.
TIME = f"""async () => {{
  const {{ time }} = await {MODULE}("i18n.js");
  return time(Date.UTC(2026, 10, 23, 7, 30));
}}"""
TIMES = {"en": r"3:30:00\sPM", "zh-Hans": "15:30:00", "zh-Hant": "下午3:30:00"}


@pytest_asyncio.fixture(loop_scope="session")
async def make_context(
    browser: Browser, console_errors: list[str]
) -> AsyncIterator[Callable[..., Awaitable[BrowserContext]]]:
    """Create a browser context with these options, such as locale or viewport."""
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> BrowserContext:
            context = new_context(browser, console_errors, **options)
            return await stack.enter_async_context(context)

        yield make


async def open_chat(
    context: BrowserContext, server: Server, transport: str = "websocket", query: str = ""
) -> Page:
    page = await new_page(context)
    await go(page, server, f"/demos/{transport}.html", query)
    await expect_connected(page)
    return page


async def open_light(context: BrowserContext, server: Server, query: str = "") -> Page:
    """Open a page with the header of all pages, and without connections, which cost half a load."""
    page = await context.new_page()
    await go(page, server, LIGHT_PAGE, query)
    await expect(page.locator("#hub")).not_to_be_empty()
    return page


async def go(page: Page, server: Server, path: str, query: str = "") -> None:
    await page.goto(f"{server.url.rstrip('/')}{path}?room={uuid.uuid4().hex}&name=Ada{query}")


async def expect_connected(page: Page) -> None:
    await expect(page.locator("#state")).to_have_attribute("data-state", "open")


# --- the languages -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("zh-TW", "zh-Hant"),
        ("fr", "en"),
    ],
)
async def test_a_page_is_in_the_language_of_its_browser(
    server: Server, make_context: Any, locale: str, language: str
) -> None:
    page = await open_light(await make_context(locale=locale), server)
    await expect(page.locator("html")).to_have_attribute("lang", language)
    await expect(page.locator("h1")).to_have_text(WORDS[language]["sticky.heading"])


async def test_an_unknown_language_does_no_harm(
    server: Server, context: BrowserContext, console_errors: list[str]
) -> None:
    page = await new_page(context)
    for asked in ("constructor", "%25%25"):
        await go(page, server, LIGHT_PAGE, f"&lang={asked}")
        await expect(page.locator("#hub")).not_to_be_empty()
        await expect(page.locator("html")).to_have_attribute("lang", "en")
    assert console_errors == []


async def test_a_chosen_language_is_stored(server: Server, make_context: Any) -> None:
    context = await make_context(locale="zh-CN")
    page = await open_light(context, server, "&lang=en")
    menu = page.locator("#language")
    assert await menu.locator("option").all_text_contents() == ["English", "简体中文", "繁體中文"]
    await expect(menu).to_have_value("en")
    await menu.select_option("zh-Hant")
    await expect(page.locator("html")).to_have_attribute("lang", "zh-Hant")
    await expect(page.locator("h1")).to_have_text(WORDS["zh-Hant"]["sticky.heading"])
    assert "lang=" not in page.url
    assert "room=" in page.url
    other = await open_chat(context, server, "sse")
    await expect(other.locator("html")).to_have_attribute("lang", "zh-Hant")


async def test_without_its_catalogue_a_page_is_in_english(
    server: Server, context: BrowserContext
) -> None:
    async def refuse(route: Route) -> None:
        await route.abort()

    async def break_off(route: Route) -> None:
        await route.fulfill(body='{"chat.send": "发', content_type="application/json")

    page = await new_page(context)
    for answer in (refuse, break_off):
        await page.unroute_all()
        await page.route("**/i18n/zh-Hans.json", answer)
        await go(page, server, "/demos/websocket.html", "&lang=zh-Hans")
        await expect(page.locator("html")).to_have_attribute("lang", "en")
        await expect(page.locator("#state-text")).to_have_text("Open")
        await expect(page.locator("#send")).to_be_visible()
        await expect(page.locator("#send")).to_have_text("Send")


async def test_no_english_is_shown_while_the_catalogue_loads_nor_as_a_name(
    server: Server, own_context: BrowserContext
) -> None:
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        await released.wait()
        await route.continue_()

    await own_context.route("**/i18n/zh-Hans.json", hold)
    page = await own_context.new_page()
    await page.clock.install(time=0)
    await page.clock.pause_at(1_000)
    await page.goto(f"{server.url.rstrip('/')}/demos/sse.html?lang=zh-Hans")
    await expect(page.locator("h1")).to_be_hidden()
    # Only for a moment: English is better than an empty page.
    await page.clock.fast_forward(2_000)
    await expect(page.locator("h1")).to_be_visible()
    await page.clock.resume()
    released.set()
    await expect(page.locator("h1")).to_contain_text("服务器发送事件")
    # A user without a name gets one in the page's language.
    await expect(page.locator("#name")).to_have_value(re.compile("^.+的.+$"))


# --- messages to the user ------------------------------------------------------------------------


async def test_an_unreachable_server_is_reported_in_the_user_s_language(
    server: Server, context: BrowserContext
) -> None:
    page = await open_chat(context, server, "long_polling", "&lang=zh-Hant")
    await context.route("**/long_polling?*", lambda route: route.abort())
    await context.route("**/messages*", lambda route: route.abort())
    await page.fill("#text", "有人嗎")
    await page.press("#text", "Enter")
    await expect(page.locator("#error")).to_contain_text("無法連上伺服器。")
    await expect(page.locator("#messages [data-state=pending]")).to_contain_text(
        "等待傳送：無法連上伺服器。將會重送。"
    )
    await page.reload()
    await expect(page.locator("#state-text")).to_have_text("無法連上伺服器。等待重新連線")
    await expect(page.locator("#countdown")).to_contain_text("秒")


async def test_joins_delays_and_refusals_are_shown_in_the_user_s_language(
    server: Server, context: BrowserContext
) -> None:
    room = uuid.uuid4().hex
    await post(server.url, room, text="早", name="Ben", client="ben")
    page = await new_page(context)
    await page.goto(f"{server.url.rstrip('/')}/demos/sse.html?room={room}&name=Ada&lang=zh-Hans")
    said = page.locator("#messages li[data-kind=say]")
    await expect(said).to_contain_text("你来之前，")
    await expect(page.locator("#messages li[data-kind=join]")).to_have_text(
        "Ada 经由 服务器发送事件 加入"
    )
    await expect(page.locator("#members")).to_contain_text("（你）")
    await page.fill("#text", "你好")
    await page.press("#text", "Enter")
    await expect(said.filter(has_text="你好")).to_contain_text(re.compile(r"发出→显示 \S+ 毫秒"))
    await page.fill("#text", "汉" * 1400)
    await page.press("#text", "Enter")
    await expect(page.locator("#error")).to_contain_text("太长了。（too_long）")
    # The server's own message is more exact, and English.
    await expect(page.locator("#error q")).to_have_attribute("lang", "en")
    await expect(page.locator("#error q")).to_contain_text("4096 bytes")
    await expect(page.locator("#messages [data-state=refused]")).to_contain_text(
        "没有发出：太长了。"
    )


# --- light, dark, large --------------------------------------------------------------------------


async def background(page: Page) -> str:
    return str(await page.evaluate("getComputedStyle(document.body).backgroundColor"))


LIGHT, DARK = "rgb(255, 255, 255)", "rgb(21, 24, 28)"


SCHEMES = {"light": LIGHT, "dark": DARK}


async def test_a_page_has_the_system_s_theme_until_the_user_chooses_one(
    server: Server, context: BrowserContext
) -> None:
    page = await open_light(context, server)

    async def expect_backgrounds(**expected: str) -> None:
        for scheme, colour in expected.items():
            await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            assert await background(page) == colour

    await expect_backgrounds(**SCHEMES)
    for theme, expected in (
        ("light", dict.fromkeys(SCHEMES, LIGHT)),
        ("dark", dict.fromkeys(SCHEMES, DARK)),
        ("auto", SCHEMES),
    ):
        await page.locator("#theme").select_option(theme)
        await expect_backgrounds(**expected)
        await page.reload()
        await expect(page.locator("#theme")).to_have_value(theme)
        await expect_backgrounds(**expected)


async def test_big_type_is_larger_and_set_like_the_theme_before_any_module_runs(
    server: Server, context: BrowserContext
) -> None:
    page = await open_light(context, server)
    size = "parseFloat(getComputedStyle(document.querySelector('main p')).fontSize)"
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

    await page.locator("#theme").select_option("dark")
    await page.locator("#big").click()
    await page.route("**/sticky.js", lambda route: route.abort())
    await page.reload()
    assert await background(page) == DARK
    await expect(page.locator("html")).to_have_attribute("data-big", "")


# --- every page ----------------------------------------------------------------------------------


PATHS = ["/", "/demos/lab.html", "/demos/lecturer.html", "/demos/sticky.html"]
PATHS += [f"/demos/{transport}.html" for transport in TRANSPORTS]


async def test_every_page_is_complete_in_chinese_and_not_wider_than_a_projector(
    server: Server, context: BrowserContext, console_errors: list[str]
) -> None:
    """test_accessibility.py opens the same pages in English, on a phone, with large type."""
    page = await context.new_page()
    await page.set_viewport_size({"width": 1280, "height": 720})
    # The time zone of this tab alone: a context of its own would compile all scripts again.
    cdp = await context.new_cdp_session(page)
    await cdp.send("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Taipei"})
    for path, language in zip(PATHS, cycle(LANGUAGES[1:]), strict=False):
        await go(page, server, path, f"&lang={language}&rate=3")
        await expect_complete(page, path, language)
        await page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 1280, path
    assert console_errors == []


async def expect_complete(page: Page, path: str, language: str) -> None:
    """Expect all links, and all texts in this language."""
    await expect_links(page, path, language)
    name = path.strip("/").removeprefix("demos/").removesuffix(".html") or "story"
    if name in TRANSPORTS:
        await expect_connected(page)
        await expect_texts(page, name, language)
        assert re.fullmatch(TIMES[language], str(await page.evaluate(TIME)))
    if name in ("lab", *TRANSPORTS):
        await expect_exercises(page)
    await expect(page.locator("html")).to_have_attribute("lang", language)
    await expect(page.locator("body")).not_to_contain_text(KEY)


async def expect_links(page: Page, path: str, language: str) -> None:
    """Header and footer link to all pages, and keep room, name and language, but nothing else."""
    await expect(page.locator("#ways a")).to_have_count(len(TRANSPORTS))
    others = ["lab", *TRANSPORTS, "lecturer", "cluster", "sticky", "capture", "glossary"]
    links = await page.locator("header nav a, footer a").evaluate_all(
        """links => links.map((link) => [link.getAttribute("href"), link.ariaCurrent])"""
    )
    for there in ["/", *(f"/demos/{name}.html" for name in others)]:
        ((href, current),) = [link for link in links if link[0].startswith(f"{there}?")]
        assert all(part in href for part in ("room=", "name=Ada", f"lang={language}"))
        assert "rate" not in href
        assert current == ("page" if there == path else None)


async def expect_texts(page: Page, transport: str, language: str) -> None:
    words = WORDS[language]
    await expect(page.locator("#state-text")).to_have_text(words["chat.state.open"])
    await expect(page.locator("h1")).to_contain_text(words[f"page.{transport}.name"])
    await expect(page.locator("#send")).to_have_text(words["chat.send"])
    await expect(page.locator("#text")).to_have_attribute("placeholder", words["chat.say"])
    drawing = page.locator("#idea svg")
    await expect(drawing).to_have_attribute("aria-label", words[f"page.{transport}.drawing"])
    await expect(drawing).to_contain_text(words["page.drawing.time"])
    assert (await page.title()).startswith(words[f"page.{transport}.title"])


async def expect_exercises(page: Page) -> None:
    """Three to seven, each with a prediction, steps and a closed answer."""
    exercises = page.locator("#exercises .exercise")
    await expect(exercises.first).to_be_attached()
    found = await exercises.evaluate_all(
        """exercises => exercises.map((exercise) => [
          exercise.querySelector(".answer").open,
          ...["input[type=radio]", ".run li", ".answer p"].map(
            (part) => exercise.querySelectorAll(part).length),
        ])"""
    )
    assert 3 <= len(found) <= 7
    for is_open, choices, steps, paragraphs in found:
        assert not is_open
        assert choices == 3
        assert steps >= 3
        assert paragraphs >= 2
    text = str(await page.locator("#exercises").text_content())
    assert "exercise." not in text
    assert "RFC 6202" in text or "RFC 9000" in text  # of HTTP, or of QUIC


# --- the keyboard --------------------------------------------------------------------------------


async def test_a_keyboard_user_reaches_the_chat_at_once(
    server: Server, context: BrowserContext
) -> None:
    page = await open_chat(context, server)
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
