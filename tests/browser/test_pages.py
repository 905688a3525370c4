"""The pages as a student uses them: two tabs, two transports, one room."""

import signal

import pytest
from playwright.async_api import BrowserContext, expect

from benchmarks.clients import post
from realtime.netem.proxy import Proxy
from tests.browser.chat_page import HARD, TRANSPORTS, expect_message, message, open_chat, send
from tests.conftest import Servers
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# Each with the next, and the last with the first: every transport sends and receives.
PAIRS = list(zip(TRANSPORTS, TRANSPORTS[1:] + TRANSPORTS[:1], strict=True))


@pytest.mark.parametrize(("one", "other"), PAIRS)
async def test_two_tabs_on_two_transports_talk(
    server: Server,
    context: BrowserContext,
    console_errors: list[str],
    room: str,
    one: str,
    other: str,
) -> None:
    ada = await open_chat(context, server.url, one, room, "Ada")
    ben = await open_chat(context, server.url, other, room, "Ben")
    await send(ada, "hello from Ada")
    await send(ben, "你好，我是 Ben")
    for page in (ada, ben):
        await expect(message(page, "hello from Ada")).to_have_count(1)
        await expect(message(page, "hello from Ada")).to_contain_text(one)
        await expect(message(page, "你好，我是 Ben")).to_have_count(1)
        await expect(message(page, "你好，我是 Ben")).to_contain_text(other)
    await expect(ada.locator("#members")).to_contain_text("Ben")
    assert console_errors == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_message_is_shown_as_text_never_as_markup(
    server: Server, context: BrowserContext, console_errors: list[str], room: str, transport: str
) -> None:
    page = await open_chat(context, server.url, transport, room)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await post(server.url, room, text=HARD, name="<b>Eve</b>", client="eve")
    await expect(message(page, "alert(1)")).to_have_count(1)
    assert HARD in str(await message(page, "alert(1)").text_content())
    await expect(message(page, "alert(1)")).to_contain_text("<b>Eve</b>")
    assert dialogs == []
    assert console_errors == []


@pytest.mark.parametrize("transport", ["long_polling", "iframe_streaming", "websocket"])
async def test_a_replaced_server_loses_no_message(
    servers: Servers, context: BrowserContext, room: str, transport: str
) -> None:
    options = ("--drain-seconds", "0.5", "--grace-seconds", "5")
    with (
        servers.make("redis", *options) as old,
        servers.make("redis", *options) as new,
    ):
        async with Proxy("127.0.0.1", old.port) as relay:
            page = await open_chat(context, relay.url, transport, room)
            await post(old.url, room, text="before")
            await expect(message(page, "before")).to_have_count(1)
            relay.target = "127.0.0.1", new.port
            old.stop(signal.SIGTERM)
            await post(new.url, room, text="meanwhile")
            await old.ended()
            await post(new.url, room, text="after")
            await expect_message(page, "after")
            await expect_message(page, "meanwhile")
            kinds = page.locator("#messages li")
            assert [await li.get_attribute("data-kind") for li in await kinds.all()] == [
                *["join", "say", "say", "say"]
            ]
            await page.close()


async def test_a_refused_message_is_reported_to_its_sender(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await open_chat(context, server.url, "websocket", room)
    await send(page, "汉" * 1400)
    await expect(page.locator("#error")).to_contain_text("4096 bytes")


async def test_the_first_page_links_to_all_and_names_the_hub(
    server: Server, context: BrowserContext, console_errors: list[str]
) -> None:
    page = await context.new_page()
    await page.goto(server.url)
    for transport in TRANSPORTS:
        await expect(page.locator(f'a[href*="demos/{transport}.html"]').first).to_be_visible()
    await expect(page.locator("#hub")).to_contain_text(server.hub)
    assert console_errors == []


async def test_the_tab_of_a_forever_frame_finishes_loading(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await open_chat(context, server.url, "iframe_streaming", room)
    assert await page.evaluate("document.readyState") == "complete"
