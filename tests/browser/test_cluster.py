"""The cluster page in a real Chromium: its figures, and names that are shown as text."""

import pytest
from playwright.async_api import BrowserContext, expect

from tests.browser.tabs import new_page
from tests.cluster.test_status import OURS, StatusServer
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_the_page_shows_each_worker_and_its_clients(
    context: BrowserContext, console_errors: list[str]
) -> None:
    evil = "<img src=x onerror=alert(1)>"
    server = StatusServer()
    await server.hub.add_report("127.0.0.1:6001", 6001, OURS, **{evil: {"sse": 1234}})
    server.workers[1].reason, server.workers[1].restarts = f"exit status 1: {evil}", 2
    page = await new_page(context)
    await page.goto(f"{server.url}/?lang=en")
    rows = page.locator("#workers tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(0)).to_have_text(
        "127.0.0.1:6001ready60011,2341,234Server-sent events 1,2340"
    )
    await expect(rows.nth(1).locator(".reason")).to_have_text(f"exit status 1: {evil}")
    await expect(page.locator("#rooms tbody th")).to_have_text(evil)
    await expect(page.locator("#rooms tbody .by")).to_have_text("Server-sent events 1,234")
    await expect(page.locator("#transports tbody tr")).to_have_text("Server-sent events1,2341,234")
    server.hub.away = True
    await expect(page.locator("#error")).to_contain_text("The message broker does not respond")
    await expect(rows.nth(0)).to_have_text("127.0.0.1:6001ready6001––0")
    await page.goto(f"{server.url}/?lang=zh-Hans")
    await expect(page.locator("#error")).to_contain_text("消息代理没有响应")
    await server.aclose()
    assert console_errors == []


async def test_a_server_without_a_cluster_says_so(
    server: Server, context: BrowserContext, console_errors: list[str]
) -> None:
    page = await new_page(context)
    await page.goto(f"{server.url}/demos/cluster.html?lang=en")
    await expect(page.locator("#elsewhere")).to_contain_text("make cluster")
    await expect(page.locator("#workers")).to_be_hidden()
    assert console_errors == []
