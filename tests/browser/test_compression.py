"""A page asks for compression: the browser inflates it, and so does the byte view."""

import re

import pytest
from playwright.async_api import BrowserContext, Page, expect

from realtime.client import post
from tests.browser.chat_page import expect_message, open_chat, send
from tests.browser.tabs import new_page
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def expect_inflated(page: Page, text: str) -> None:
    """The message is shown; in the bytes, behind what crossed the network, is what it means."""
    await send(page, text)
    await expect_message(page, text)
    block = page.locator("#wire .wire-list li").filter(
        has=page.locator('.wire-part[data-kind="inflated"]').filter(has_text=text)
    )
    await expect(block.first.locator(".wire-head")).to_contain_text("plain: ")
    head = await block.first.locator(".wire-head").inner_text()
    sent, plain = re.findall(r"([\d,]+) B \(plain: ([\d,]+) bytes\)", head)[0]
    assert int(sent.replace(",", "")) < int(plain.replace(",", "")) + 300  # a poll has a header


async def test_a_stream_is_compressed_as_the_page_asks(
    context: BrowserContext, server: Server, room: str
) -> None:
    page = await open_chat(context, server.url, "fetch_streaming", f"{room}&encoding=gzip")
    await expect(page.locator("#encoding")).to_have_value("gzip")
    await expect_inflated(page, "hello hello hello")
    await expect(page.locator(".sequence .totals")).to_contain_text("events: 2")
    for encoding in ("zstd", ""):
        await page.locator("#encoding").select_option(encoding)
        await expect(page.locator("#state")).to_have_attribute("data-state", "open")
        expected = re.compile("encoding=zstd" if encoding else r"name=Ada$")
        await expect(page).to_have_url(expected)
        await send(page, f"with {encoding or 'nothing'}")
        await expect_message(page, f"with {encoding or 'nothing'}")
    for encoding in ("gzip", "zstd"):
        read = f"""new Promise((resolve) => {{
            const source = new EventSource("/rooms/{room}/sse?encoding={encoding}");
            source.onmessage = ({{ data }}) => {{
                source.close();
                resolve(JSON.parse(data).kind);
            }};
        }})"""
        assert await page.evaluate(read) == "join"


async def test_a_browser_that_has_our_dictionary_uses_it(
    context: BrowserContext, server: Server, room: str
) -> None:
    await post(server.url, room, text="with a dictionary")
    page = await new_page(context)
    await page.goto(f"{server.url}/demos/frame.html")
    # It offers a dictionary some time after it has loaded it.
    assert (
        await page.evaluate(
            """async (room) => {
            await (await fetch("/dictionary")).text();
            for (let n = 0; n < 100; n++) {
                const url = `/rooms/${room}/fetch_streaming?encoding=dcz`;
                const response = await fetch(url, { cache: "no-store" });
                const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
                let text = "";
                while (!text.includes("}")) text += (await reader.read()).value;
                await reader.cancel();
                const coding = response.headers.get("content-encoding");
                if (coding === "dcz") return JSON.parse(text).text;
                await new Promise((resolve) => { setTimeout(resolve, 50); });
            }
        }""",
            room,
        )
        == "with a dictionary"
    )


@pytest.mark.parametrize(
    ("transport", "encoding"),
    [("iframe_streaming", "gzip"), ("long_polling", "gzip"), ("websocket", "deflate")],
)
async def test_a_page_shows_compressed_and_plain_sizes(
    context: BrowserContext,
    server: Server,
    room: str,
    console_errors: list[str],
    transport: str,
    encoding: str,
) -> None:
    page = await open_chat(context, server.url, transport, f"{room}&encoding={encoding}")
    await expect_inflated(page, "hello hello hello hello hello")
    if transport == "websocket":  # what Chromium sends is compressed as well
        up = page.locator('#wire li[data-direction="up"] .wire-part[data-kind="inflated"]')
        await expect(up.filter(has_text="hello hello")).to_have_count(1)
        await expect(page.locator(".sequence svg")).to_contain_text("ack")
    assert console_errors == []
