"""A browser that blocks all cookies, and storage with them: the pages work, without memory."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, async_playwright, expect

from tests.browser.chat_page import TRANSPORTS, message, open_chat, send
from tests.browser.conftest import FLAGS, chromium
from tests.server_process import ROOT, Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# The value of "do not allow sites to save data on your device".
BLOCKED = {"profile": {"default_content_setting_values": {"cookies": 2}}}
OTHER_PAGES = [
    page.name
    for page in (ROOT / "demos").glob("*.html")
    if page.stem not in [*TRANSPORTS, "frame", "cluster"]
]


@pytest_asyncio.fixture(loop_scope="session")
async def context(tmp_path: Path) -> AsyncIterator[BrowserContext]:
    preferences = tmp_path / "Default" / "Preferences"
    preferences.parent.mkdir()
    preferences.write_text(json.dumps(BLOCKED))
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            tmp_path, executable_path=chromium(), args=FLAGS, reduced_motion="reduce"
        )
        yield context
        await context.close()


async def test_every_page_works_where_storage_is_blocked(
    server: Server, context: BrowserContext, room: str
) -> None:
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    page = await open_chat(context, server.url, "websocket", room)
    refused = "(() => { try { localStorage; } catch (error) { return error.name; } })()"
    assert await page.evaluate(refused) == "SecurityError"
    await send(page, "without memory")
    await expect(message(page, "without memory")).to_have_count(1)
    # The page keeps the choice where it can: in its URL.
    await page.select_option("#language", "zh-Hant")
    await expect(page.locator("html")).to_have_attribute("lang", "zh-Hant")
    await page.select_option("#theme", "dark")
    for name in ["", *(f"demos/{name}" for name in OTHER_PAGES)]:
        await page.goto(f"{server.url}/{name}?room={room}#key=unknown")
        if await page.locator("#hub").count():
            await expect(page.locator("#hub")).not_to_be_empty()
    assert errors == []
