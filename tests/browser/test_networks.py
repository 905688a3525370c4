"""A bad network, chosen in the page: what each does to a chat can be seen."""

from collections.abc import Iterator

import pytest
from playwright.async_api import BrowserContext, Page, expect

from benchmarks.clients import get_json, post
from tests.browser.test_pages import TRANSPORTS, enter, heard, room, say
from tests.server_process import Server

__all__ = ["room"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module")
def lab() -> Iterator[Server]:
    with Server("--hub", "auto", "--networks", "4") as server:
        yield server


async def choose(page: Page, network: str) -> int:
    """Choose a network by its name in the list, or in words; the result is its port."""
    known = await page.locator(f'.network-choice option[value="{network}"]').count()
    await page.select_option(".network-choice", network if known else "own")
    if not known:
        await page.fill(".own-network", network)
        await page.press(".own-network", "Enter")
    state = page.locator(".network-state")
    await expect(state).to_contain_text("Now through port")
    words = await state.text_content()
    assert words is not None
    return int(words.split("port ")[1].split(":")[0])


@pytest.mark.parametrize("transport", TRANSPORTS[1:])
async def test_a_network_is_gone_by_and_a_plug_that_is_pulled_loses_nothing(
    lab: Server, context: BrowserContext, complaints: list[str], room: str, transport: str
) -> None:
    page = await enter(context, lab.url, transport, room)
    port = await choose(page, "rtt=5ms")
    asked = page.locator("#wire .wire-part[data-kind=field]", has_text=f"Host: 127.0.0.1:{port}")
    await expect(asked.first).to_be_attached()
    await say(page, "through the network")
    await expect(heard(page, "through the network")).to_have_count(1)
    await expect(page.locator("#messages li[data-kind=say][data-state]")).to_have_count(0)
    assert complaints == []
    await page.get_by_role("button", name="Pull the plug for 5 s").click()
    await expect(page.locator(".network-state")).to_contain_text("Every connection is cut")
    await post(lab.url, room, text="while the plug was out")
    if transport == "iframe_streaming":
        # The frame's stream broke, of which Chromium tells nobody: two heartbeats must be missed.
        await page.clock.fast_forward(1_000)
        await page.clock.fast_forward(40_000)
    await expect(heard(page, "while the plug was out")).to_have_count(1, timeout=25_000)
    assert await page.locator("#messages li[data-kind=gap]").count() == 0
    await page.close()


async def test_a_buffering_proxy_silences_streams_and_not_polls(
    lab: Server, context: BrowserContext, room: str
) -> None:
    stream = await enter(context, lab.url, "sse", room, "Ada")
    poll = await enter(context, lab.url, "long_polling", room, "Ben")
    for page in (stream, poll):
        await choose(page, "buffering")
    await post(lab.url, room, text="held up")
    await expect(heard(poll, "held up")).to_have_count(1)
    await expect(heard(stream, "held up")).to_have_count(0)
    await stream.select_option(".network-choice", "none")
    await expect(heard(stream, "held up")).to_have_count(1)
    await stream.close()
    await poll.close()


async def test_a_paused_network_goes_on_where_it_stopped(
    lab: Server, context: BrowserContext, room: str
) -> None:
    page = await enter(context, lab.url, "websocket", room)
    await choose(page, "rtt=5ms")
    await page.get_by_role("button", name="Pause for 5 s").click()
    await expect(page.locator(".network-state")).to_contain_text("nothing passes")
    await post(lab.url, room, text="late, not lost")
    await expect(heard(page, "late, not lost")).to_have_count(1, timeout=15_000)
    await page.close()


async def test_a_network_that_is_none_is_said(
    lab: Server, context: BrowserContext, room: str
) -> None:
    page = await enter(context, lab.url, "sse", room)
    await page.select_option(".network-choice", "own")
    await page.fill(".own-network", "rtt=soon")
    await page.press(".own-network", "Enter")
    await expect(page.locator(".network-state")).to_contain_text("bad_network")
    await page.close()


async def test_a_page_that_is_closed_gives_its_network_back(
    lab: Server, context: BrowserContext, room: str
) -> None:
    """There are four; more pages than that can have one, one after the other."""
    for _ in range(5):
        page = await enter(context, lab.url, "short_polling", room)
        await choose(page, "rtt=1ms")
        await page.goto("about:blank")
        await page.close()


async def test_without_networks_the_page_says_how_to_have_some(
    server: Server, context: BrowserContext, room: str
) -> None:
    assert (await get_json(server.url, "/lab"))["networks"] == 0
    page = await enter(context, server.url, "sse", room)
    await expect(page.locator("#network")).to_contain_text("--networks 8")
