"""Each page in both sizes and both themes: axe-core finds no violation, and pictures are kept.

The pictures, in test-output, are for people: a test cannot judge the appearance.
"""

from typing import Any

import pytest
from playwright.async_api import BrowserContext, expect

from tests.browser.chat_page import TRANSPORTS, send
from tests.conftest import missing
from tests.server_process import ROOT, Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

AXE = ROOT / "tests" / "vendor" / "axe-core" / "axe.min.js"
PAGES = [
    "/",
    "/demos/lab.html",
    "/demos/lecturer.html",
    "/demos/projector.html",
    "/demos/class.html",
    "/demos/cluster.html",
    "/demos/sticky.html",
]
PAGES += ["/demos/glossary.html", *(f"/demos/{transport}.html" for transport in TRANSPORTS)]
PICTURES = ROOT / "test-output"
# Each size with each theme, on one load of the page.  A theme changes colours only, so the second
# theme of a size needs only the rule about contrast: all rules take ten times longer.
WIDE, NARROW = {"width": 1280, "height": 720}, {"width": 390, "height": 844}
LOOKS: list[tuple[Any, Any, list[str]]] = [
    (WIDE, "light", []),
    (WIDE, "dark", ["color-contrast"]),
    (NARROW, "dark", []),
    (NARROW, "light", ["color-contrast"]),
]
# With the panels of the other tabs: one check of all is cheaper than one of each.  All exercises
# and all captured bytes look alike, so one page is enough for them.
RUN = """async (rules) => {
  const all = document.body.dataset.transport === "websocket";
  const panels = document.querySelectorAll(`[role=tabpanel]${all ? "" : ":not(.exercise)"}`);
  panels.forEach((panel) => { panel.hidden = false; });
  if (!all) document.querySelector("#player .clear")?.click();
  const only = rules.length ? { runOnly: rules } : {};
  const { violations } = await axe.run(document, { resultTypes: ["violations"], ...only });
  return violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.target} ${node.any[0]?.message ?? ""}`));
}"""


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_violates_a_rule_in_any_size_and_theme(
    server: Server, context: BrowserContext, room: str, path: str
) -> None:
    if not AXE.exists():
        missing("axe-core, which make test downloads,")
    page = await context.new_page()
    await page.goto(f"{server.url.rstrip('/')}{path}?room={room}&name=Ada&lang=en")
    if path.removeprefix("/demos/").removesuffix(".html") in TRANSPORTS:
        await expect(page.locator("#state")).to_have_attribute("data-state", "open")
        await send(page, "hello")
        await expect(page.locator("#sequence .arrow").first).to_be_attached()
    # Through the debugger, which a Content-Security-Policy does not restrict.
    await page.evaluate(AXE.read_text("utf-8"))
    name = path.removeprefix("/demos/").removesuffix(".html").strip("/") or "story"
    for size, theme, _ in LOOKS:
        await page.set_viewport_size(size)
        await page.emulate_media(color_scheme=theme)
        await page.screenshot(path=PICTURES / f"{name}-{size['width']}-{theme}.png")
    found = []
    for size, theme, rules in LOOKS:
        await page.set_viewport_size(size)
        await page.emulate_media(color_scheme=theme)
        faults = await page.evaluate(RUN, rules)
        found += [f"{theme}, {size['width']} px: {fault}" for fault in faults]
    assert found == []
