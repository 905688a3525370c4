"""Network conditions, chosen on the page: their effect on a chat is visible."""

from collections.abc import Iterator

import pytest
from playwright.async_api import BrowserContext, Page, Route, expect

from realtime.client import get_json, post
from tests.browser.chat_page import expect_message, expect_no_gap, message, open_chat, send
from tests.browser.tabs import leave, new_page
from tests.cases import each
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module")
def lab() -> Iterator[Server]:
    with Server("--hub", "auto", "--networks", "2") as server:
        yield server


async def choose(page: Page, network: str) -> int:
    """Choose a preset by its name, or conditions of our own; the result is the proxy's port."""
    # The page fills the menu when it knows from the server how many networks there are.
    await expect(page.locator(".network-choice option")).not_to_have_count(0)
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


async def press(page: Page, button: str) -> None:
    """Press a button that interrupts the network for 5 s; here the server does it for 1 s."""

    async def shorten(route: Route) -> None:
        await route.continue_(url=route.request.url.replace("seconds=5", "seconds=1"))

    await page.route("**/networks/**/*seconds=5", shorten)
    await page.get_by_role("button", name=button).click()


async def close(page: Page) -> None:
    """Release the network and close the page.

    `Page.close` alone does not always run the page's `pagehide`, and a network that is not
    released is leased to nobody else for a minute.
    """
    async with page.expect_request_finished(lambda request: request.method == "DELETE"):
        await page.select_option(".network-choice", "none")


# test_lab.py does the same with every transport, on one page.
@each("transport", ["long_polling", "iframe_streaming", "websocket"])
async def test_a_page_connects_through_the_network_and_a_disconnect_loses_nothing(
    lab: Server, clock_context: BrowserContext, console_errors: list[str], room: str, transport: str
) -> None:
    room = f"{room}-{transport}"
    page = await open_chat(clock_context, lab.url, transport, room)
    port = await choose(page, "rtt=5ms")
    host = page.locator("#wire .wire-part[data-kind=field]", has_text=f"Host: 127.0.0.1:{port}")
    await expect(host.first).to_be_attached()
    await send(page, "through the network")
    await expect(message(page, "through the network")).to_have_count(1)
    await expect(page.locator("#messages li[data-kind=say][data-state]")).to_have_count(0)
    assert console_errors == []
    await press(page, "Disconnect for 5 s")
    await expect(page.locator(".network-state")).to_contain_text("TCP connections are reset")
    await post(lab.url, room, text="while the plug was out")
    if transport == "iframe_streaming":
        # Chromium does not report that the frame's stream broke: two heartbeats must be missed.
        await page.clock.fast_forward(1_000)
        await page.clock.fast_forward(40_000)
    await expect_message(page, "while the plug was out")
    await expect_no_gap(page)
    await close(page)
    console_errors.clear()  # of the disconnection


async def test_a_buffering_proxy_delays_streams_and_not_polls(
    lab: Server, context: BrowserContext, room: str
) -> None:
    stream = await open_chat(context, lab.url, "sse", room, "Ada")
    poll = await open_chat(context, lab.url, "long_polling", room, "Ben")
    for page in (stream, poll):
        await choose(page, "buffering")
    await post(lab.url, room, text="held up")
    await expect(message(poll, "held up")).to_have_count(1)
    await expect(message(stream, "held up")).to_have_count(0)
    await stream.select_option(".network-choice", "none")
    await expect(message(stream, "held up")).to_have_count(1)
    await leave(stream)
    await close(poll)


async def test_a_paused_network_delivers_after_the_pause(
    lab: Server, clock_context: BrowserContext, room: str
) -> None:
    page = await open_chat(clock_context, lab.url, "websocket", room)
    await choose(page, "rtt=5ms")
    await press(page, "Pause for 5 s")
    await expect(page.locator(".network-state")).to_contain_text("nothing passes")
    await post(lab.url, room, text="late, not lost")
    await expect(message(page, "late, not lost")).to_have_count(1)
    # The line says what is true now.
    await page.clock.fast_forward(5_000)
    await expect(page.locator(".network-state")).to_contain_text("Now through port")
    await close(page)


async def test_invalid_network_conditions_are_reported(
    lab: Server, context: BrowserContext, room: str
) -> None:
    page = await open_chat(context, lab.url, "sse", room)
    await page.select_option(".network-choice", "own")
    await page.fill(".own-network", "rtt=soon")
    await page.press(".own-network", "Enter")
    state = page.locator(".network-state")
    await expect(state).to_contain_text("bad_network")
    assert (await state.inner_text()).count("bad_network") == 1


async def test_a_page_that_is_closed_releases_its_network(
    lab: Server, context: BrowserContext, room: str
) -> None:
    """The server has two; three pages can lease one, one after the other."""
    page = await new_page(context)
    for _ in range(3):
        await page.goto(f"{lab.url}/demos/short_polling.html?room={room}")
        await choose(page, "rtt=1ms")
        await page.goto("about:blank")


async def test_without_networks_the_page_names_the_option(
    server: Server, context: BrowserContext, room: str
) -> None:
    assert (await get_json(server.url, "/lab"))["networks"] == 0
    page = await open_chat(context, server.url, "sse", room)
    await expect(page.locator("#network")).to_contain_text("--networks 8")
