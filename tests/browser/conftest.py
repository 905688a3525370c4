"""A real Chromium and a real server: one of each for all tests of a process, and one context.

A test that changes more of its context than this file can undo requests `own_context`.
"""

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    WebError,
    async_playwright,
    expect,
)

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
    # All tabs of a context share a process: its start and its end cost a fifth of a page load.
    "--process-per-site",
]


# No promise of a page is a number of seconds, and several tests run at once.
expect.set_options(timeout=20_000)


def chromium(*, with_settings: bool = False) -> str:
    """Find Chromium; without it the tests are skipped, or fail under STRICT=1."""
    names = ["chromium", "chromium-browser", "google-chrome"]
    if not with_settings:
        # It has no user interface, so a page costs it half the CPU time, and no settings.
        names.insert(0, "chromium-headless-shell")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        tell = pytest.fail if os.environ.get("STRICT") else pytest.skip
        tell("no Chromium here: the pages are not tested in a browser")
    return found


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    with Server("--hub", "auto") as server:
        yield server


@pytest.fixture(scope="session")
def server(shared_server: Server) -> Server:
    """The server of all tests; a module may have its own instead."""
    return shared_server


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

    context = await browser.new_context(**options)
    with listening(context, errors):
        yield context
        await context.close()


@contextmanager
def listening(context: BrowserContext, errors: list[str]) -> Iterator[None]:
    """Append the console errors of all pages of a context to `errors`."""

    def on_message(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    def on_error(error: WebError) -> None:
        errors.append(str(error.error))

    context.on("console", on_message)
    context.on("weberror", on_error)
    yield
    context.remove_listener("console", on_message)
    context.remove_listener("weberror", on_error)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_context(browser: Browser, shared_server: Server) -> AsyncIterator[BrowserContext]:
    """The context of all tests that need none of their own, with a page that is always open.

    While it is open the context keeps its process, and the code that V8 has compiled.
    """
    context = await browser.new_context(reduced_motion="reduce")
    page = await context.new_page()
    await page.goto(f"{shared_server.url}/healthz")
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(
    shared_context: BrowserContext, console_errors: list[str]
) -> AsyncIterator[BrowserContext]:
    """The shared context, without pages, routes and stored data of the test before."""
    first_page, *others = shared_context.pages
    assert not others
    with listening(shared_context, console_errors):
        yield shared_context
        for page in shared_context.pages[1:]:
            await page.close()
    await shared_context.unroute_all(behavior="ignoreErrors")
    await shared_context.clear_cookies()
    await first_page.evaluate("localStorage.clear()")
    # The clock of a page is that of its context, and cannot be removed: request `clock_context`.
    assert await first_page.evaluate("/native code/.test(setTimeout)")


@pytest_asyncio.fixture(loop_scope="session")
async def own_context(browser: Browser, console_errors: list[str]) -> AsyncIterator[BrowserContext]:
    """A new context for one test."""
    async with new_context(browser, console_errors, reduced_motion="reduce") as context:
        yield context


@pytest_asyncio.fixture(loop_scope="session")
async def clock_context(own_context: BrowserContext) -> BrowserContext:
    """A new context for one test, with a clock that the test can put forward."""
    await own_context.clock.install()
    return own_context


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chat_errors() -> list[str]:
    """The errors on the console of all pages of `chat`."""
    return []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chat_context(browser: Browser, chat_errors: list[str]) -> AsyncIterator[BrowserContext]:
    """A context with a clock, for the pages of all transports: its start costs half a page load."""
    async with new_context(browser, chat_errors, reduced_motion="reduce") as context:
        await context.clock.install()
        yield context


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=TRANSPORTS)
async def chat(
    request: pytest.FixtureRequest,
    chat_context: BrowserContext,
    chat_errors: list[str],
    server: Server,
) -> AsyncIterator[Chat]:
    """The page of each transport, opened once for all tests of a module that share it.

    A page load costs 0.7 s of CPU.  A test that shares the page does not expect an empty room, and
    leaves the page connected.  None of them may cause an error on the console.
    """
    transport, room = request.param, f"room-{secrets.token_hex(6)}"
    page = await open_chat(chat_context, server.url, transport, room)
    yield Chat(page, server, transport, room)
    await page.close()
    assert chat_errors == []
