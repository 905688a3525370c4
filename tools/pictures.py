"""Make the pictures of README and docs: ``make pictures``.

Screenshots are taken from the real pages; charts are drawn from benchmarks/reference, with the same
specifications as those of the report.
"""

import asyncio
import base64
from pathlib import Path
from typing import Any

import vl_convert
from playwright.async_api import Browser, Page, async_playwright, expect

from benchmarks.method.results import read
from benchmarks.report.charts import dark_style
from benchmarks.report.figures import figures
from benchmarks.report.i18n import load_translations
from tests.browser.conftest import FLAGS, chromium
from tests.cluster_fixture import Cluster
from tests.server_process import ROOT, Server

PICTURES = ROOT / "docs" / "pictures"
ADA, MING = ("long_polling", "Ada"), ("websocket", "阿明")
CONVERSATION = (
    (0, "Is anybody here? I am asking by long polling."),
    (1, "我在。WebSocket，一直开着。"),
    (0, "So the server kept my question until you spoke."),
    (1, "而我收到你的话，只多了四个字节的帧头。"),
)
WIDE: Any = {"width": 1280, "height": 720}
# Name of the picture: the benchmark and its chart.
CHARTS = {
    "latency-rtt100": ("latency", "ecdf-rtt=100ms"),
    "poll-gap-at-once": ("poll_gap", "at-once"),
    "capacity": ("capacity", "clients"),
}
CHART_WIDTH = 760
# The version that benchmarks/report/package.json names.
VEGA_LITE = "6.4"


async def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    charts()
    options = ("--hub", "auto", "--lanes", "6", "--networks", "2", "--key", "picture")
    with Server(*options) as server:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
            await story(browser, server.url)
            await two_tabs(browser, server.url)
            await lab(browser, server.url)
            await workspace(browser, server.url)
            await lecturer(browser, server.url)
            await faults(browser)
            await browser.close()


def charts() -> None:
    """Draw the charts of docs/benchmarks.md, each with the dark colours of its page."""
    english = load_translations()["en"]
    for picture, (benchmark, name) in CHARTS.items():
        result = read(ROOT / "benchmarks" / "reference" / f"{benchmark}.json")
        [spec] = [one.spec for one in figures(result, english) if one.name == name]
        # A picture has no pointer.
        layers = [layer for layer in spec["layer"] if layer.get("name") != "targets"]
        still = {**spec, "width": CHART_WIDTH, "layer": layers}
        drawn = vl_convert.vegalite_to_svg(still, VEGA_LITE)
        opening, rest = drawn.split(">", 1)
        style = f"<style>{dark_style('svg')}</style>"
        path = PICTURES / "benchmarks" / f"{picture}.svg"
        path.write_text(f"{opening}>{style}{rest}\n", "utf-8")


async def story(browser: Browser, url: str) -> None:
    """The first page: a message by short polling and by WebSocket, and the next poll under way."""
    page = await browser.new_page(viewport=WIDE)
    await page.goto(f"{url}/?room=story&lang=en")
    await expect(page.locator(".marks .empty")).to_have_count(2)
    await page.click("#send")
    await expect(page.locator("#said")).to_contain_text("The same message took")
    await expect(page.locator(".dot.request")).not_to_have_count(0)
    await page.screenshot(path=PICTURES / "story.png")


async def two_tabs(browser: Browser, url: str) -> None:
    small = {"width": 620, "height": 560}
    users = [(transport, "picture", name) for transport, name in (ADA, MING)]
    pages = [await open_chat(browser, url, *one, small) for one in users]
    for sender, text in CONVERSATION:
        await send(pages[sender], text)
        for page in pages:
            await expect(page.locator("#messages").get_by_text(text)).to_be_visible()
    shots = [await page.locator("#chat").screenshot() for page in pages]
    await side_by_side(browser, shots, PICTURES / "two-tabs.png")


async def lab(browser: Browser, url: str) -> None:
    """All transports under a load of scheduled messages, with a round trip of 100 ms."""
    page = await browser.new_page(viewport=WIDE, reduced_motion="reduce")
    await page.goto(f"{url}/demos/lab.html?room=race&name=Ada")
    await page.select_option(".network-choice", "own")
    await page.fill(".own-network", "rtt=100ms,jitter=20ms")
    await page.press(".own-network", "Enter")
    await expect(page.locator(".network-state")).to_contain_text("port")
    await page.evaluate("scrollTo(0, 0)")
    await page.select_option("#count", "200")
    await page.select_option("#rate", "20")
    await page.click("#send-many")
    await expect(page.locator("#sent")).to_contain_text("200 sent, 0 to go", timeout=30_000)
    await page.screenshot(path=PICTURES / "lab.png")
    await page.locator("#racing").scroll_into_view_if_needed()
    await expect(page.locator("#chart label[data-via=websocket] .median")).not_to_be_empty()
    await page.locator("#racing").screenshot(path=PICTURES / "race.png")


async def workspace(browser: Browser, url: str) -> None:
    """A message of server-sent events, its arrow, its bytes, and its chunk size explained."""
    page = await open_chat(browser, url, "sse", "wire", "Ada", WIDE)
    for text in ("hello", "hello, bytes"):
        await send(page, text)
    block = page.locator("#wire li").filter(has_text="hello, bytes").last
    await block.locator('.wire-part[data-kind="chunk-size"]').click()
    await expect(page.locator("#messages li.linked")).to_have_count(1)
    await page.screenshot(path=PICTURES / "workspace.png")


async def lecturer(browser: Browser, url: str) -> None:
    page = await browser.new_page(viewport=WIDE, reduced_motion="reduce")
    await page.goto(f"{url}/demos/lecturer.html?room=race#key=picture")
    await page.get_by_role("button", name="Long polling").click()
    await expect(page.locator("#step-title")).to_have_text("Long polling")
    await page.screenshot(path=PICTURES / "lecturer.png")


async def faults(browser: Browser) -> None:
    """A cluster whose Redis is frozen, seen by its page of faults."""
    with Cluster("spawn", "--nginx", "0", "--fault-controls", "--key", "picture") as cluster:
        await cluster.until_ready()
        page = await browser.new_page(viewport=WIDE, reduced_motion="reduce")
        await page.goto(f"{cluster.url}/demos/faults.html#key=picture")
        await expect(page.locator("#readers tr[data-state=open]")).to_have_count(8)
        await expect(page.locator(".card[data-state=up]")).to_have_count(6)
        await page.get_by_role("button", name="Freeze: Redis").click()
        await expect(page.locator("#map line[data-state=down]")).to_have_count(3)
        await page.screenshot(path=PICTURES / "faults.png")


async def open_chat(
    browser: Browser, url: str, transport: str, room: str, name: str, viewport: Any
) -> Page:
    page = await browser.new_page(viewport=viewport, reduced_motion="reduce")
    await page.goto(f"{url}/demos/{transport}.html?room={room}&name={name}")
    await expect(page.locator("#state")).to_have_attribute("data-state", "open")
    return page


async def send(page: Page, text: str) -> None:
    await page.fill("#text", text)
    await page.press("#text", "Enter")
    await expect(page.locator("#messages [data-state]")).to_have_count(0)


async def side_by_side(browser: Browser, shots: list[bytes], path: Path) -> None:
    page = await browser.new_page(viewport=WIDE)
    images = "".join(
        f'<img src="data:image/png;base64,{base64.b64encode(shot).decode()}">' for shot in shots
    )
    style = "body{margin:0;padding:20px;display:inline-flex;gap:20px;background:#fff}"
    await page.set_content(f"<style>{style}</style>{images}")
    await page.locator("body").screenshot(path=path)


if __name__ == "__main__":
    asyncio.run(main())
