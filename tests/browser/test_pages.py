"""The pages as a student meets them: two tabs, two transports, one room."""

import signal
import uuid

import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from benchmarks.clients import post
from realtime.netem.proxy import Proxy
from tests.conftest import Servers
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TRANSPORTS = [
    "short_polling",
    "long_polling",
    "iframe_streaming",
    "sse",
    "fetch_streaming",
    "websocket",
    "sockjs",
    "socketio",
]
# Each with the next, and the last with the first: every one sends, and every one hears.
PAIRS = list(zip(TRANSPORTS, TRANSPORTS[1:] + TRANSPORTS[:1], strict=True))
HARD = "</script><script>alert(1)</script> \"'&amp; \u2028 😀 \u202eשלום"


@pytest.fixture
def room() -> str:
    return uuid.uuid4().hex


async def enter(
    context: BrowserContext, url: str, transport: str, room: str, name: str = "Ada"
) -> Page:
    page = await context.new_page()
    await page.clock.install()  # it goes on as always, and can be put forward
    # Not "load": an iframe in the markup would keep a page from it for ever, and this must show.
    await page.goto(f"{url.rstrip('/')}/demos/{transport}.html?room={room}&name={name}")
    await expect(page.locator("#state")).to_have_attribute("data-state", "open")
    return page


async def say(page: Page, text: str) -> None:
    await page.fill("#text", text)
    await page.press("#text", "Enter")


def heard(page: Page, text: str) -> Locator:
    return page.locator("#messages li[data-kind=say]").filter(has_text=text)


@pytest.mark.parametrize(("one", "other"), PAIRS)
async def test_two_tabs_on_two_transports_talk(
    server: Server, context: BrowserContext, complaints: list[str], room: str, one: str, other: str
) -> None:
    ada = await enter(context, server.url, one, room, "Ada")
    ben = await enter(context, server.url, other, room, "Ben")
    await say(ada, "hello from Ada")
    await say(ben, "你好，我是 Ben")
    for page in (ada, ben):
        await expect(heard(page, "hello from Ada")).to_have_count(1)
        await expect(heard(page, "hello from Ada")).to_contain_text(one)
        await expect(heard(page, "你好，我是 Ben")).to_have_count(1)
        await expect(heard(page, "你好，我是 Ben")).to_contain_text(other)
    await expect(ada.locator("#members")).to_contain_text("Ben")
    assert complaints == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_others_say_is_text(
    server: Server, context: BrowserContext, complaints: list[str], room: str, transport: str
) -> None:
    page = await enter(context, server.url, transport, room)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await post(server.url, room, text=HARD, name="<b>Eve</b>", client="eve")
    await expect(heard(page, "alert(1)")).to_have_count(1)
    assert HARD in str(await heard(page, "alert(1)").text_content())
    await expect(heard(page, "alert(1)")).to_contain_text("<b>Eve</b>")
    assert dialogs == []
    assert complaints == []


@pytest.mark.parametrize("transport", ["long_polling", "iframe_streaming", "websocket"])
async def test_a_page_does_not_notice_that_its_server_was_replaced(
    servers: Servers, context: BrowserContext, room: str, transport: str
) -> None:
    options = ("--drain-seconds", "0.5", "--grace-seconds", "5")
    with (
        servers.make("redis", *options) as old,
        servers.make("redis", *options) as new,
    ):
        async with Proxy("127.0.0.1", old.port) as relay:
            page = await enter(context, relay.url, transport, room)
            await post(old.url, room, text="before")
            await expect(heard(page, "before")).to_have_count(1)
            relay.target = "127.0.0.1", new.port
            old.stop(signal.SIGTERM)
            await post(new.url, room, text="meanwhile")
            await old.ended()
            await post(new.url, room, text="after")
            await expect(heard(page, "after")).to_have_count(1, timeout=15_000)
            await expect(heard(page, "meanwhile")).to_have_count(1)
            kinds = page.locator("#messages li")
            assert [await li.get_attribute("data-kind") for li in await kinds.all()] == [
                *["join", "say", "say", "say"]
            ]
            await page.close()


async def test_a_refused_message_is_told_to_its_sender(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await enter(context, server.url, "websocket", room)
    await say(page, "汉" * 1400)
    await expect(page.locator("#error")).to_contain_text("4096 bytes")


async def test_the_first_page_leads_to_all_and_says_which_hub(
    server: Server, context: BrowserContext, complaints: list[str]
) -> None:
    page = await context.new_page()
    await page.goto(server.url)
    for transport in TRANSPORTS:
        await expect(page.locator(f'a[href*="demos/{transport}.html"]').first).to_be_visible()
    await expect(page.locator("#hub")).to_contain_text(server.hub)
    assert complaints == []


async def test_the_forever_frame_leaves_the_tab_loaded(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await enter(context, server.url, "iframe_streaming", room)
    assert await page.evaluate("document.readyState") == "complete"
