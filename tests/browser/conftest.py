"""A real Chromium and a real server: one of each for all tests, and a context for each test."""

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, async_playwright, expect

from tests.browser.chat_page import TRANSPORTS, Chat, open_chat
from tests.server_process import Server

# For root, for machines without a GPU, and without requests to Google's servers.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-software-rasterizer",
    "--disable-extensions",
    "--mute-audio",
    # The browser's own UI is invisible here, and takes a third of the time that a page needs.
    "--disable-features=InitialWebUI,WebUIOmniboxPopup,WebUIOmniboxAimPopup",
]


# No promise of a page is a number of seconds, and several tests run at once.
expect.set_options(timeout=20_000)


def chromium() -> str:
    """Find Chromium; without it the tests are skipped, or fail under STRICT=1."""
    # The headless shell first: it has no user interface, so a page costs it half the CPU time.
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        tell = pytest.fail if os.environ.get("STRICT") else pytest.skip
        tell("no Chromium here: the pages are not tested in a browser")
    return found


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with Server("--hub", "auto") as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def console_errors() -> list[str]:
    """The errors on the console of all pages of this test, with CSP violations among them."""
    return []


@asynccontextmanager
async def new_context(
    browser: Browser, errors: list[str], **options: Any
) -> AsyncIterator[BrowserContext]:
    """A browser context with these options; its pages append their console errors to `errors`."""

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    context = await browser.new_context(**options)
    context.on("console", listen)
    context.on("weberror", lambda error: errors.append(str(error.error)))
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, console_errors: list[str]) -> AsyncIterator[BrowserContext]:
    async with new_context(browser, console_errors, reduced_motion="reduce") as context:
        yield context


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=TRANSPORTS)
async def chat(
    request: pytest.FixtureRequest, browser: Browser, server: Server
) -> AsyncIterator[Chat]:
    """The page of each transport, opened once for all tests of a module that share it.

    A page load costs 0.7 s of CPU.  A test that shares the page does not expect an empty room, and
    leaves the page connected.  None of them may cause an error on the console.
    """
    errors: list[str] = []
    transport, room = request.param, f"room-{secrets.token_hex(6)}"
    async with new_context(browser, errors, reduced_motion="reduce") as context:
        page = await open_chat(context, server.url, transport, room)
        yield Chat(page, server, transport, room)
    assert errors == []
