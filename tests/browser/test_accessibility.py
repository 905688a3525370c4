"""Accessibility, judged by axe-core: no page violates a rule, light or dark, wide or narrow."""

from typing import Any

import pytest
from playwright.async_api import BrowserContext, expect

from tests.browser.chat_page import TRANSPORTS, send
from tests.server_process import ROOT, Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

AXE = ROOT / "tests" / "vendor" / "axe-core" / "axe.min.js"
PAGES = [
    "/",
    "/demos/lab.html",
    "/demos/lecturer.html",
    "/demos/cluster.html",
    "/demos/sticky.html",
]
PAGES += ["/demos/glossary.html", *(f"/demos/{transport}.html" for transport in TRANSPORTS)]
# Each size and each theme once, on one load of the page.
LOOKS: list[tuple[Any, Any]] = [
    ({"width": 1280, "height": 720}, "light"),
    ({"width": 390, "height": 844}, "dark"),
]
# With the panels of the other tabs: one check of all is cheaper than one of each.  All exercises
# and all captured bytes look alike, so one page is enough for them.
RUN = """async () => {
  const all = document.body.dataset.transport === "websocket";
  const panels = document.querySelectorAll(`[role=tabpanel]${all ? "" : ":not(.exercise)"}`);
  panels.forEach((panel) => { panel.hidden = false; });
  if (!all) document.querySelector("#player .clear")?.click();
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.target} ${node.any[0]?.message ?? ""}`));
}"""


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_violates_a_rule(
    server: Server, context: BrowserContext, room: str, path: str
) -> None:
    if not AXE.exists():
        pytest.skip("no axe-core here: make test downloads it")
    page = await context.new_page()
    await page.goto(f"{server.url.rstrip('/')}{path}?room={room}&name=Ada&lang=en")
    if path.removeprefix("/demos/").removesuffix(".html") in TRANSPORTS:
        await expect(page.locator("#state")).to_have_attribute("data-state", "open")
        await send(page, "hello")
        await expect(page.locator("#sequence .arrow").first).to_be_attached()
    # Through the debugger, which a Content-Security-Policy does not restrict.
    await page.evaluate(AXE.read_text("utf-8"))
    found = []
    for size, theme in LOOKS:
        await page.set_viewport_size(size)
        await page.emulate_media(color_scheme=theme)
        found += [f"{theme}, {size['width']} px: {fault}" for fault in await page.evaluate(RUN)]
    assert found == []
