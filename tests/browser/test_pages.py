"""The first page, and pages whose server is replaced."""

import signal

import pytest
from playwright.async_api import BrowserContext, expect

from realtime.client import post
from realtime.netem.proxy import Proxy
from tests.browser.chat_page import TRANSPORTS, expect_message, message, open_chat
from tests.browser.tabs import leave, new_page
from tests.cases import each
from tests.conftest import Servers
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@each("transport", ["long_polling", "iframe_streaming", "websocket"])
async def test_a_replaced_server_loses_no_message(
    servers: Servers, clock_context: BrowserContext, room: str, transport: str
) -> None:
    room = f"{room}-{transport}"
    new = servers.get("redis", "--messages-per-second", "0")
    with servers.make("redis", "--drain-seconds", "0.5", "--grace-seconds", "5") as old:
        async with Proxy("127.0.0.1", old.port) as relay:
            page = await open_chat(clock_context, relay.url, transport, room)
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
            await leave(page)


async def test_the_first_page_names_the_hub_and_links_to_all_pages(
    server: Server, context: BrowserContext, console_errors: list[str]
) -> None:
    page = await new_page(context)
    await page.goto(f"{server.url}/?lang=en")
    for transport in TRANSPORTS:
        await expect(page.locator(f'a[href*="demos/{transport}.html"]').first).to_be_visible()
    await expect(page.locator("#hub")).to_contain_text(server.hub)
    await page.get_by_role("link", name="Sticky").click()
    await expect(page.locator("h1")).to_contain_text("which transports fail behind nginx")
    assert console_errors == []
