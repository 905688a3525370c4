"""In a local network, where a browser sends no `Sec-Fetch-Site`: our pages join, others cannot."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import BrowserContext, expect

from realtime.client import get_json
from tests.browser.chat_page import TCP_TRANSPORTS
from tests.browser.tabs import new_page
from tests.fake_server import FakeServer
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# Every way in which a page can make a browser send a GET without `Origin`.
ATTACK = """<!DOCTYPE html><meta charset=utf-8><title>another site</title>
<img src="{url}short_polling?client=img&name=Eve">
<img src="{url}short_polling?client=quiet&name=Eve" referrerpolicy=no-referrer>
<script src="{url}short_polling?client=script&name=Eve" referrerpolicy=no-referrer></script>
<link rel=stylesheet href="{url}short_polling?client=style&name=Eve" referrerpolicy=no-referrer>
<iframe src="{url}iframe_streaming?client=frame&name=Eve" referrerpolicy=no-referrer></iframe>
<video src="{url}sse?client=video&name=Eve"></video>
<script>
const headers = {{ Accept: "text/event-stream" }};
const options = {{ mode: "no-cors", referrerPolicy: "no-referrer", headers }};
const asked = fetch("{url}short_polling?client=fetch&name=Eve", options);
const loaded = new Promise((resolve) => addEventListener("load", resolve));
Promise.allSettled([asked, loaded]).then(() => {{ document.title = "done"; }});
</script>"""


@asynccontextmanager
async def other_site(html: str) -> AsyncIterator[str]:
    """Serve one page at a port of its own."""
    body = html.encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)

    async with FakeServer(answer) as site:
        yield f"http://127.0.0.1:{site.port}/"


async def test_our_pages_join_and_a_page_of_another_site_does_not(
    context: BrowserContext, room: str
) -> None:
    with Server("--hub", "memory", "--host", "0.0.0.0") as server:
        addresses = (await get_json(server.url, "/lab"))["addresses"]
        if not addresses:
            pytest.skip("this machine has no address in a network")
        url = addresses[0]
        # The lab joins over every transport that a page has without HTTPS.
        page = await new_page(context)
        await page.goto(f"{url}demos/lab.html?room={room}&name=Ada")
        for transport in TCP_TRANSPORTS:
            state = page.locator(f'.pane[data-transport="{transport}"] .state')
            await expect(state).to_have_attribute("data-state", "open")
        await expect(page.locator(".left-out")).to_contain_text("only in a secure context")
        async with other_site(ATTACK.format(url=f"{url}rooms/{room}/")) as other:
            page = await new_page(context)
            await page.goto(other, wait_until="commit")
            await expect(page).to_have_title("done")
        members = (await get_json(server.url, f"/rooms/{room}/members"))["members"]
        assert [member["name"] for member in members] == ["Ada"]
