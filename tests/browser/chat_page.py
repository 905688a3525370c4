"""The page of a transport, as a student uses it."""

import json
from dataclasses import dataclass

import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.browser.tabs import new_page
from tests.server_process import ROOT, Server

# Over TCP: they work on every page, and pass every proxy.
TCP_TRANSPORTS = [
    "short_polling",
    "long_polling",
    "iframe_streaming",
    "sse",
    "fetch_streaming",
    "websocket",
    "sockjs",
    "socketio",
]
TRANSPORTS = [*TCP_TRANSPORTS, "webtransport"]
_CATALOGUE = json.loads((ROOT / "demos/i18n/en.json").read_text("utf-8"))
# As the pages show them.
NAMES = {transport: _CATALOGUE[f"transport.{transport}"] for transport in TRANSPORTS}
# A text with everything that could break out of markup or turn a line around.
HARD = "</script><script>alert(1)</script> \"'&amp; \u2028 😀 \u202eשלום"
# Imports a module that the page uses, with the state that it has there: `MODULE("identity.js")`.
MODULE = """((name) =>
  import(new URL(name, document.querySelector("script[type=module]").src)))"""
# More than any wait before a reconnect.
MAX_BACKOFF = 10_500


@dataclass(frozen=True)
class Chat:
    """An open page that several tests share."""

    page: Page
    server: Server
    transport: str
    room: str


def only(*transports: str) -> pytest.MarkDecorator:
    """Run a test on the shared pages of these transports."""
    return pytest.mark.parametrize("chat", transports, indirect=True)


async def open_chat(
    context: BrowserContext, url: str, transport: str, room: str, name: str = "Ada"
) -> Page:
    """Open the page, and wait until it is connected."""
    page = await new_page(context)
    # Waits for "load": a frame in the markup would delay that forever, and the test would show it.
    await page.goto(f"{url.rstrip('/')}/demos/{transport}.html?room={room}&name={name}")
    await expect(page.locator("#state")).to_have_attribute("data-state", "open")
    return page


async def open_tab(page: Page, name: str) -> None:
    """Show the article, the lesson or an exercise, below the workspace."""
    await page.get_by_role("tab", name=name, exact=True).click()


async def send(page: Page, text: str) -> None:
    await page.fill("#text", text)
    await page.press("#text", "Enter")


def message(page: Page, text: str) -> Locator:
    """The messages that the page shows with this text."""
    return page.locator("#messages li[data-kind=say]").filter(has_text=text)


async def expect_message(page: Page, text: str) -> None:
    """Wait until the page shows this text once, and skip its waits before reconnects."""
    await expect_after_reconnect(page, message(page, text))


async def expect_after_reconnect(page: Page, shown: Locator) -> None:
    """Wait until the page shows this once; its context must have a clock."""
    for _ in range(25):
        try:
            return await expect(shown).to_have_count(1, timeout=1_000)
        except AssertionError:
            await page.clock.fast_forward(MAX_BACKOFF)
    await expect(shown).to_have_count(1)


async def expect_no_gap(page: Page) -> None:
    assert await page.locator("#messages li[data-kind=gap]").count() == 0
