"""Our pages on a server with ``--access tickets``: a link with a ticket opens them, unchanged."""

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, expect

from tests.browser.chat_page import message, open_chat, send
from tests.browser.tabs import leave, new_page
from tests.conftest import Servers
from tests.ticket_keys import SECRET, ticket

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# One with EventSource and POST, one navigation, one upgrade, and the two libraries.
TRANSPORTS = ("sse", "iframe_streaming", "websocket", "sockjs", "socketio")


async def test_a_link_with_a_ticket_opens_the_pages(
    servers: Servers, context: BrowserContext, tmp_path: Path, room: str
) -> None:
    keys = tmp_path / "secret"
    keys.write_bytes(SECRET)
    server = servers.get("memory", "--access", "tickets", "--ticket-keys", str(keys))
    page = await new_page(context)
    await page.goto(f"{server.url}/demos/sse.html?room={room}&name=Ada")
    await expect(page.locator("#state")).to_contain_text("no_ticket")
    await page.goto(f"{server.url}/demos/sse.html?ticket={ticket(rooms=[room])}&room={room}")
    assert page.url == f"{server.url}/demos/sse.html?room={room}"
    for transport in TRANSPORTS:
        page = await open_chat(context, server.url, transport, room)
        await send(page, f"by {transport}")
        await expect(message(page, f"by {transport}")).to_have_count(1)
        await leave(page)
    page = await new_page(context)
    await page.goto(f"{server.url}/demos/websocket.html?room={room}2&name=Ada")
    await expect(page.locator("#state")).to_contain_text("not_allowed")
