"""Our pages on a server with ``--access tickets``: a link with a ticket opens them, unchanged."""

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, expect

from tests.browser.chat_page import message, send
from tests.browser.tabs import new_page
from tests.browser.test_engines import ALL_HAVE, ALL_OPEN, CONNECT, IDS, READ, SEND_OVER_EACH
from tests.conftest import Servers
from tests.ticket_keys import SECRET, ticket

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# Besides the page's own: one navigation, one upgrade, and the two libraries.
TRANSPORTS = ["iframe_streaming", "websocket", "sockjs", "socketio"]


async def test_a_link_with_a_ticket_opens_a_page_with_every_kind_of_request(
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
    await send(page, "by sse")
    await expect(message(page, "by sse")).to_have_count(1)
    # The others on the same page: a page load takes longer than all that they send.
    await page.evaluate(CONNECT, {"room": room, "after": "now", "transports": TRANSPORTS})
    await page.wait_for_function(ALL_OPEN)
    await page.evaluate(SEND_OVER_EACH, IDS)
    for transport in TRANSPORTS:
        await expect(message(page, transport)).to_have_count(1)
    await page.wait_for_function(ALL_HAVE, arg=len(TRANSPORTS))
    for texts, repeats in (await page.evaluate(READ)).values():
        assert (sorted(texts), repeats) == (sorted(TRANSPORTS), 0)
    await page.goto(f"{server.url}/demos/websocket.html?room={room}2&name=Ada")
    await expect(page.locator("#state")).to_contain_text("not_allowed")
