"""In class: a crowd from one address, phones that sleep, hidden tabs, a Stop click, a restart."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from playwright.async_api import BrowserContext, expect

from benchmarks.clients import CLIENTS, post, request
from realtime.netem.proxy import Proxy
from tests.browser.test_lab import enter as enter_lab
from tests.browser.test_lab import expect_clean, figure
from tests.browser.test_pages import TRANSPORTS, enter, heard, room, say
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.readers import reader, take, texts

__all__ = ["room"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# A tab that says it is hidden, or not, as the test has it.
HIDEABLE = """
Object.defineProperty(document, "hidden", { get: () => Boolean(window.hiddenNow) });
Object.defineProperty(document, "visibilityState", {
  get: () => (window.hiddenNow ? "hidden" : "visible"),
});
window.hide = (yes) => {
  window.hiddenNow = yes;
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


async def test_forty_from_one_address_all_hear_all(
    server: Server, context: BrowserContext, complaints: list[str], room: str
) -> None:
    async with AsyncExitStack() as stack:
        crowd: list[Any] = []
        for n in range(36):
            transport = list(CLIENTS)[n % len(CLIENTS)]
            person = reader(server, transport, room, client=f"c{n}", name=f"Student {n}")
            crowd.append(await stack.enter_async_context(person))
        kinds = ("long_polling", "iframe_streaming", "sse", "websocket")
        pages = [await enter(context, server.url, kind, room, f"Page {kind}") for kind in kinds]
        for page in pages:
            await expect(page.locator("#member-count")).to_have_text("40")
        await asyncio.gather(*(post(server.url, room, text=f"from {n}") for n in range(20)))
        for n, page in enumerate(pages, 1):
            await say(page, "and I")
            await expect(heard(page, "and I")).to_have_count(n)
        heard_by = await asyncio.gather(*(take_all(person) for person in crowd))
    assert all(said == heard_by[0] for said in heard_by)
    assert complaints == []
    for page in pages:
        await page.close()


async def take_all(person: Any) -> list[str]:
    """What one of the crowd has heard said, joins left out."""
    said: list[str] = []
    while len(said) < 24:
        said += [text for text in texts(await take(person, 1)) if text not in ("join", "quit")]
    return said


@pytest.mark.parametrize("transport", ["short_polling", "iframe_streaming", "sse", "websocket"])
async def test_a_phone_that_slept_catches_up(
    server: Server, context: BrowserContext, room: str, transport: str
) -> None:
    async with Proxy("127.0.0.1", server.port) as relay:
        page = await enter(context, relay.url, transport, room)
        await post(server.url, room, text="before")
        await expect(heard(page, "before")).to_have_count(1)
        cdp = await context.new_cdp_session(page)
        await cdp.send("Page.setWebLifecycleState", {"state": "frozen"})
        relay.cut()  # whoever sleeps for long has lost its connections
        await post(server.url, room, text="asleep")
        await cdp.send("Page.setWebLifecycleState", {"state": "active"})
        if transport == "iframe_streaming":
            await page.clock.fast_forward(1_000)
            await page.clock.fast_forward(40_000)
        await expect(heard(page, "asleep")).to_have_count(1, timeout=15_000)
        await post(server.url, room, text="after")
        await expect(heard(page, "after")).to_have_count(1, timeout=15_000)
        assert await page.locator("#messages li[data-kind=say]").count() == 3
        assert await page.locator("#messages li[data-kind=gap]").count() == 0
        await page.close()


async def test_two_tabs_that_ask_the_same_are_both_answered_at_once(
    server: Server, context: BrowserContext, room: str
) -> None:
    """Without `no-store` the second would wait for the first, behind the lock of a cache entry."""
    cursor = (await post(server.url, room, text="before")).json()["cursor"]
    tabs = [await context.new_page() for _ in range(2)]
    for tab in tabs:
        await tab.goto(f"{server.url}/demos/static/icon.svg")
    ask = f"""async () => {{
      const {{ requestJSON, roomUrl }} = await import("/demos/static/api.js");
      const query = {{ after: "{cursor}", wait: 20 }};
      const answer = await requestJSON(roomUrl("{room}", "long_polling", query));
      return answer.events.map(({{ text }}) => text);
    }}"""
    asking = [asyncio.ensure_future(tab.evaluate(ask)) for tab in tabs]
    await until_two_wait(server)
    await post(server.url, room, text="both hear this")
    async with asyncio.timeout(5):
        assert await asyncio.gather(*asking) == [["both hear this"]] * 2
    for tab in tabs:
        await tab.close()


async def until_two_wait(server: Server) -> None:
    async with asyncio.timeout(10):
        while True:
            metrics = (await request(server.url, "GET", "/metrics")).body.decode()
            if float(metrics.split('realtime_readers{as="waiting"} ')[1].split("\n")[0]) >= 2:
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_stop_click_does_not_end_the_chat(
    server: Server, context: BrowserContext, room: str, transport: str
) -> None:
    page = await enter(context, server.url, transport, room)
    await page.evaluate("window.stop()")
    await post(server.url, room, text="after the Stop")
    await expect(heard(page, "after the Stop")).to_have_count(1, timeout=15_000)
    await say(page, "I am still here")
    await expect(heard(page, "I am still here")).to_have_count(1, timeout=15_000)
    assert await page.locator("#messages li[data-kind=gap]").count() == 0
    await page.close()


async def test_a_tab_that_was_hidden_for_ten_minutes_catches_up(
    server: Server, context: BrowserContext, complaints: list[str], room: str
) -> None:
    await context.add_init_script(HIDEABLE)
    page = await enter(context, server.url, "sse", room)
    await page.evaluate("hide(true)")
    size = await page.evaluate("document.querySelectorAll('*').length")
    for minute in range(10):
        await page.clock.fast_forward(60_000)
        for n in range(20):
            await post(server.url, room, text=f"minute {minute}, {n}", client=f"c{n % 5}")
    await expect(heard(page, "minute 9, 19")).to_have_count(1)
    shown = await page.evaluate("document.querySelectorAll('*').length")
    await page.evaluate("hide(false)")
    await expect(page.locator("#wire .wire-list")).to_contain_text("minute 9, 19")
    assert await page.locator("#messages li[data-kind=gap]").count() == 0
    assert await page.locator("#messages li").count() <= 500
    assert shown < size + 500 * 12  # the lines of the chat, and nothing that only somebody sees
    assert complaints == []
    await page.close()


async def test_a_restart_in_the_middle_leaves_the_audit_clean(
    servers: Servers, context: BrowserContext, room: str
) -> None:
    """The same port, and a hub that remembers; all six go on where they were."""
    options = ("--messages-per-second", "0")
    with servers.make("redis", *options) as old:
        port = old.port
        page = await enter_lab(context, old, room)
        for n in range(10):
            await post(old.url, room, text=f"before {n}")
        for transport in TRANSPORTS:
            await expect(figure(page, transport, "received")).to_have_text("11")
    with servers.make("redis", *options, "--port", str(port)) as new:
        for n in range(10):
            await post(new.url, room, text=f"after {n}")
        for transport in TRANSPORTS:
            said = page.locator(f'.pane[data-transport="{transport}"] .said li')
            await expect(said.filter(has_text="after 9")).to_have_count(1, timeout=20_000)
            await expect_clean(page, transport)
        await page.close()
