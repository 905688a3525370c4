"""What a page saves: a file for Wireshark, one for the browser's own tools, a page for home."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Download, Page, expect

from tests import tshark
from tests.browser.chat_page import message, open_chat, send
from tests.browser.conftest import new_context
from tests.browser.tabs import new_page
from tests.capture_files import all_cases, written
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

EMBEDDED = re.compile(rb'id="embedded-capture"[^>]*>([^<]+)<')
SECRET = re.compile(r"(?:secret|trace)=([0-9a-f]{32})")
# Of another program on this host: cookies know no port.
COOKIE = "a-session-of-another-program"

BAD_FILES = [
    (b"hello", "not a pcapng file"),
    (b"\x0a\x0d\x0d\x0a" + bytes(8), "not a pcapng file"),
    (b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a" + bytes(4), "damaged"),
]


def up(data: bytes) -> dict[str, Any]:
    """A record of these bytes, with markup for a transport."""
    encoded = base64.b64encode(data).decode()
    return {"connection": 1, "transport": "<b>", "at": 1e12, "direction": "up", "data": encoded}


async def save(page: Page, button: str, folder: Path) -> Path:
    async with page.expect_download() as started:
        await page.get_by_role("button", name=button).click()
    download: Download = await started.value
    path = folder / download.suggested_filename
    await download.save_as(path)
    return path


async def open_menu(page: Page) -> None:
    """By keyboard; the menu has the focus then."""
    await page.locator("#player .capture").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#capture-menu")).to_be_visible()


async def choose(page: Page, name: str, data: bytes) -> None:
    await page.locator("#capture-menu input").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": data}
    )


async def test_a_capture_is_saved_and_opened_again_on_another_machine(
    server: Server,
    own_context: BrowserContext,
    browser: Browser,
    console_errors: list[str],
    room: str,
    tmp_path: Path,
) -> None:
    urls: list[str] = []
    own_context.on("request", lambda request: urls.append(request.url))
    await own_context.add_cookies([{"name": "session", "value": COOKIE, "url": server.url}])
    page = await open_chat(own_context, server.url, "sse", room)
    await send(page, "for home")
    await expect(message(page, "for home")).not_to_have_attribute("data-state", "pending")
    await expect(page.locator("#wire .wire-list")).to_contain_text("for home")
    await open_menu(page)
    pcapng = await save(page, "Save as pcapng", tmp_path)
    har = await save(page, "Save as HAR", tmp_path)
    html = await save(page, "Save as a page", tmp_path)

    # Wireshark has the texts, the names and the explanations, and no secret.
    assert pcapng.name.startswith("realtime-sse-")
    assert tshark.faults(pcapng) == ""
    comments = tshark.fields(pcapng, "frame.comment", only="frame.comment")
    assert [row for row in comments if "Event of server-sent events" in row[0]]
    targets = [row[0] for row in tshark.fields(pcapng, "http.request.uri", only="http.request")]
    assert [uri for uri in targets if "/sse?" in uri and f"trace={'*' * 32}" in uri]
    secrets = {secret for url in urls for secret in SECRET.findall(url)}
    assert len(secrets) == 2
    (embedded,) = EMBEDDED.findall(html.read_bytes())
    for data in (pcapng.read_bytes(), har.read_bytes(), base64.b64decode(embedded)):
        assert b"secret=" + b"*" * 32 in data
        assert [secret for secret in (*secrets, COOKIE) if secret.encode() in data] == []
    # A browser answers from the HAR, with no server.
    async with new_context(browser, console_errors, offline=True) as replayed:
        await replayed.route_from_har(har, not_found="abort")
        entries = json.loads(har.read_text())["log"]["entries"]
        stream = next(url for one in entries if "/sse?" in (url := one["request"]["url"]))
        response = await (await replayed.new_page()).goto(stream)
        assert response is not None
        assert "for home" in await response.text()

    # A bad file says what is wrong; a good one replaces the live traffic.
    alert = page.locator("#capture-menu [role=alert]")
    for data, complaint in BAD_FILES:
        await choose(page, "bad.pcapng", data)
        await expect(alert).to_contain_text(complaint)
    arrows = page.locator("#sequence .arrow")
    await choose(page, pcapng.name, pcapng.read_bytes())
    await expect(page.locator("#player .player-state")).to_have_text("All is shown")
    await expect(page.locator("#player .capture-name")).to_have_text(pcapng.name)
    shown = await arrows.count()
    await send(page, "not in the file")
    await expect(message(page, "not in the file")).not_to_have_attribute("data-state", "pending")
    assert await arrows.count() == shown
    await page.get_by_role("button", name="Back to live").click()
    await expect(page.locator("#wire .wire-list")).to_contain_text("not in the file")
    await expect(page.locator("#wire .wire-list")).to_contain_text("for home")
    await page.close()

    # At home: one file, without a server, in any language.
    async with new_context(browser, console_errors, offline=True) as home:
        page = await home.new_page()
        await page.goto(f"{html.as_uri()}?lang=en")
        await expect(page.locator("#wire .wire-list")).to_contain_text("for home")
        assert await page.locator("#sequence .arrow").count() == shown
        await expect(page.locator("#ideas")).to_contain_text("EventSource")
        await page.get_by_role("button", name="Replay").click()
        await expect(page.locator("#player .player-state")).to_contain_text("Replay")
        await open_menu(page)
        await expect(page.get_by_role("button", name="Save as a page")).to_have_count(0)
        again = await save(page, "Save as pcapng", tmp_path)
        assert tshark.fields(again, "tcp.len") == tshark.fields(pcapng, "tcp.len")
        await page.goto(f"{html.as_uri()}?lang=zh-Hant")
        await expect(page.locator("h1")).to_have_text("擷取檔")
    assert console_errors == []


async def test_the_page_of_a_capture_explains_each_transport_in_the_file(
    server: Server, context: BrowserContext, console_errors: list[str]
) -> None:
    page = await new_page(context)
    await page.goto(f"{server.url}/demos/capture.html?lang=en")
    await expect(page.locator("#sequence .nothing")).to_contain_text("No file is open")
    await expect(page.locator("#hub")).to_contain_text(server.hub)
    await open_menu(page)
    await choose(page, "lesson.pcapng", all_cases())
    await expect(page.locator("#capture-menu")).to_be_hidden()
    await expect(page.locator("#player .capture-name")).to_have_text("lesson.pcapng")
    await expect(page.locator("#sequence .arrow.request")).to_have_count(4)
    await expect(page.locator("#sequence .arrow.dropped")).to_have_count(1)
    await expect(page.locator("#ideas h2")).to_contain_text(
        ["Short polling", "Long polling", "WebSocket", "Server-sent events"]
    )
    # What is no HTTP is bytes and no arrow, and whatever it says is no markup.
    await open_menu(page)
    await choose(page, "evil.pcapng", written([up(b"<img src=x onerror=alert(1)>\r\n")]))
    await expect(page.locator("#wire .wire-list")).to_contain_text("<img src=x")
    await expect(page.locator("#sequence .nothing")).to_contain_text("Nothing in this file")
    await expect(page.locator("main img")).to_have_count(0)
    await open_menu(page)
    await choose(page, "lesson.pcapng", all_cases())
    await expect(page.locator("#sequence .arrow.request")).to_have_count(4)
    # The bytes are reached by keyboard, as on the page of a transport.
    await page.locator("#wire .hex").focus()
    await page.keyboard.press("Tab")
    await expect(page.locator("#wire .wire-explanation")).to_contain_text("Request line")
    assert console_errors == []
