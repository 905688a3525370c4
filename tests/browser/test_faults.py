"""The page of faults in a real Chromium: a whole cluster, its map, its buttons and its audit."""

import re

import pytest
from playwright.async_api import BrowserContext, expect

from tests.browser.chat_page import TCP_TRANSPORTS
from tests.browser.tabs import leave, new_page
from tests.browser.test_accessibility import AXE, NARROW, RUN, WIDE
from tests.cluster_fixture import Cluster
from tests.conftest import missing
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

KEY = "the-lecturer"


async def test_the_page_kills_redis_and_the_audit_names_every_gap(
    context: BrowserContext, console_errors: list[str]
) -> None:
    if not AXE.exists():
        missing("axe-core, which make test downloads,")
    with Cluster("spawn", "--nginx", "0", "--fault-controls", "--key", KEY, workers=2) as cluster:
        await cluster.until_ready()
        page = await new_page(context)
        await page.set_viewport_size(WIDE)
        url = f"{cluster.url}/demos/faults.html?lang=en"
        await page.goto(f"{url}#key={KEY}")
        readers = page.locator("#readers tr[data-state=open]")
        await expect(readers).to_have_count(len(TCP_TRANSPORTS))
        await expect(page.locator(".card[data-state=up]")).to_have_count(5)
        await expect(page.locator("#map line[data-state=up]")).to_have_count(5)
        assert await page.evaluate("document.documentElement.scrollWidth") == WIDE["width"]
        assert KEY not in page.url  # a projector shows it
        await page.get_by_role("button", name="Kill: Redis").press("Enter")
        await expect(page.locator("#log-lines")).to_contain_text(
            "Redis was killed (SIGKILL). Works"
        )
        gap = page.locator("#log-lines li", has_text="Gap (unknown)").locator(".transport-label")
        await expect(gap).to_have_count(len(TCP_TRANSPORTS))
        verdict = "0 lost, 0 twice, 0 out of order · gaps: 8"
        await expect(page.locator("#verdict")).to_have_text(verdict)
        waiting = page.locator("#flow")
        await expect(waiting).to_have_text(re.compile(r"[1-9]\d* messages confirmed, 0 not yet"))

        await page.evaluate(AXE.read_text("utf-8"))
        found = await page.evaluate(RUN, [[], 0])
        await page.set_viewport_size(NARROW)
        await page.emulate_media(color_scheme="dark")
        assert found + await page.evaluate(RUN, [["color-contrast"], 1]) == []
        assert await page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
        await leave(page)

        student = await new_page(context)
        await student.goto(url)
        await expect(student.locator(".card")).to_have_count(5)
        await expect(student.locator("#keyless")).to_be_visible()
        await expect(student.locator(".card button")).to_have_count(0)
        await expect(student.locator("#duration")).to_be_hidden()
        await student.goto(f"{cluster.url}/?lang=en")
        await expect(student.locator("#faults")).to_be_visible()
        await leave(student)
    assert [error for error in console_errors if "Content Security Policy" in error] == []


async def test_a_server_without_the_option_says_so(server: Server, context: BrowserContext) -> None:
    page = await new_page(context)
    await page.goto(f"{server.url}/demos/faults.html?lang=en#key={KEY}")
    await expect(page.locator("#elsewhere")).to_contain_text("--fault-controls")
    await expect(page.locator("#system")).to_be_hidden()
