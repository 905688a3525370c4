"""Make the pictures of README from the real pages: ``.venv/bin/python -m tools.pictures``."""

import asyncio
import base64
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.conftest import FLAGS, chromium
from tests.server import ROOT, Server

PICTURES = ROOT / "docs" / "pictures"
ADA, MING = ("long_polling", "Ada"), ("websocket", "阿明")
TALK = (
    (0, "Is anybody here? I am asking by long polling."),
    (1, "我在。WebSocket，一直开着。"),
    (0, "So the server kept my question until you spoke."),
    (1, "而我收到你的话，只多了四个字节的帧头。"),
)


async def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with Server("--hub", "auto") as server:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
            pages = [await enter(browser, server.url, *who) for who in (ADA, MING)]
            for speaker, text in TALK:
                await pages[speaker].fill("#text", text)
                await pages[speaker].press("#text", "Enter")
                for page in pages:
                    await expect(page.get_by_text(text)).to_be_visible()
            shots = [await page.locator("#chat").screenshot() for page in pages]
            await beside(browser, shots, PICTURES / "two-tabs.png")
            await browser.close()


async def enter(browser: Browser, url: str, transport: str, name: str) -> Page:
    page = await browser.new_page(viewport={"width": 620, "height": 560}, reduced_motion="reduce")
    await page.goto(f"{url}/demos/{transport}.html?room=picture&name={name}")
    await expect(page.locator("#state")).to_have_attribute("data-state", "open")
    return page


async def beside(browser: Browser, shots: list[bytes], path: Path) -> None:
    page = await browser.new_page(viewport={"width": 1280, "height": 720})
    images = "".join(
        f'<img src="data:image/png;base64,{base64.b64encode(shot).decode()}">' for shot in shots
    )
    style = "body{margin:0;padding:20px;display:inline-flex;gap:20px;background:#fff}"
    await page.set_content(f"<style>{style}</style>{images}")
    await page.locator("body").screenshot(path=path)


if __name__ == "__main__":
    asyncio.run(main())
