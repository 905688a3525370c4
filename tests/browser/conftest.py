"""A real Chromium and a real server: one of each for all tests, and a context for each test."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, async_playwright

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


def chromium() -> str:
    """Find Chromium; without it the tests are skipped, or fail under STRICT=1."""
    names = ("chromium", "chromium-browser", "google-chrome")
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


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, console_errors: list[str]) -> AsyncIterator[BrowserContext]:
    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            console_errors.append(message.text)

    context = await browser.new_context(reduced_motion="reduce")
    context.on("console", listen)
    context.on("weberror", lambda error: console_errors.append(str(error.error)))
    yield context
    await context.close()
