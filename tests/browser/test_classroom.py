"""In a classroom: many clients at one address, phones that sleep, hidden tabs, a restart."""

import asyncio
import re
from contextlib import AsyncExitStack
from typing import Any

import pytest
from playwright.async_api import BrowserContext, expect

from realtime.client import CLIENTS, post, request
from realtime.netem.proxy import Proxy
from tests.browser.chat_page import (
    TRANSPORTS,
    expect_after_reconnect,
    expect_message,
    expect_no_gap,
    message,
    open_chat,
    send,
)
from tests.browser.tabs import leave, new_page
from tests.browser.test_lab import expect_clean, figure, open_lab
from tests.cases import each
from tests.conftest import Servers
from tests.ports import free_port
from tests.server_process import Server
from tests.transports.readers import reader, take, texts

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# A tab whose visibility the test controls.
HIDEABLE = """
Object.defineProperty(document, "hidden", { get: () => Boolean(window.hiddenNow) });
Object.defineProperty(document, "visibilityState", {
  get: () => (window.hiddenNow ? "hidden" : "visible"),
});
const held = [];
window.hide = (yes) => {
  window.hiddenNow = yes;
  if (yes) { // a hidden page gets no frames
    window.realFrame = window.requestAnimationFrame;
    window.requestAnimationFrame = (draw) => held.push(draw);
  } else {
    window.requestAnimationFrame = window.realFrame;
    for (const draw of held.splice(0)) requestAnimationFrame(draw);
  }
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


async def test_forty_clients_at_one_address_receive_all_messages(
    server: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    async with AsyncExitStack() as stack:
        crowd: list[Any] = []
        for n in range(38):
            transport = list(CLIENTS)[n % len(CLIENTS)]
            person = reader(server, transport, room, client=f"c{n}", name=f"Student {n}")
            crowd.append(await stack.enter_async_context(person))
        kinds = ("long_polling", "websocket")  # one that polls, one that does not
        pages = [await open_chat(context, server.url, kind, room, f"Page {kind}") for kind in kinds]
        for page in pages:
            await expect(page.locator("#member-count")).to_have_text("40")
        await asyncio.gather(*(post(server.url, room, text=f"from {n}") for n in range(20)))
        for n, page in enumerate(pages, 1):
            await send(page, "and I")
            await expect(message(page, "and I")).to_have_count(n)
        received = await asyncio.gather(*(take_all(person) for person in crowd))
    assert all(one == received[0] for one in received)
    assert console_errors == []
    for page in pages:
        await leave(page)


async def take_all(person: Any) -> list[str]:
    """The texts that one reader has received, without joins."""
    said: list[str] = []
    while len(said) < 22:
        said += [text for text in texts(await take(person, 1)) if text not in ("join", "quit")]
    return said


# They share a context, whose start costs half a page load.
@each("transport", ["short_polling", "iframe_streaming", "sse", "websocket"])
async def test_a_phone_that_slept_catches_up(
    server: Server, clock_context: BrowserContext, room: str, transport: str
) -> None:
    room = f"{room}-{transport}"
    async with Proxy("127.0.0.1", server.port) as relay:
        page = await open_chat(clock_context, relay.url, transport, room)
        await post(server.url, room, text="before")
        await expect(message(page, "before")).to_have_count(1)
        cdp = await clock_context.new_cdp_session(page)
        await cdp.send("Page.setWebLifecycleState", {"state": "frozen"})
        relay.reset_connections()  # a phone that sleeps for long loses its connections
        await post(server.url, room, text="asleep")
        await cdp.send("Page.setWebLifecycleState", {"state": "active"})
        await cdp.detach()
        if transport == "iframe_streaming":
            await page.clock.fast_forward(1_000)
            await page.clock.fast_forward(40_000)
        await expect_message(page, "asleep")
        await post(server.url, room, text="after")
        await expect_message(page, "after")
        assert await page.locator("#messages li[data-kind=say]").count() == 3
        await expect_no_gap(page)
        await leave(page)


async def test_two_tabs_with_the_same_request_both_receive_the_response_at_once(
    server: Server, context: BrowserContext, room: str
) -> None:
    """Without `no-store` the second would wait for the first, at the lock of the cache entry."""
    cursor = (await post(server.url, room, text="before")).json()["cursor"]
    tabs = [await new_page(context) for _ in range(2)]
    for tab in tabs:
        await tab.goto(f"{server.url}/demos/static/icon.svg")
    poll = f"""async () => {{
      const {{ requestJSON, roomUrl }} = await import("/demos/static/api.js");
      const query = {{ after: "{cursor}", wait: 20 }};
      const answer = await requestJSON(roomUrl("{room}", "long_polling", query));
      return answer.events.map(({{ text }}) => text);
    }}"""
    polls = [asyncio.ensure_future(tab.evaluate(poll)) for tab in tabs]
    await until_two_wait(server)
    await post(server.url, room, text="for both")
    async with asyncio.timeout(15):  # each poll waits for 20 s
        assert await asyncio.gather(*polls) == [["for both"]] * 2
    for tab in tabs:
        await leave(tab)


async def until_two_wait(server: Server) -> None:
    async with asyncio.timeout(10):
        while True:
            metrics = (await request(server.url, "GET", "/metrics")).body.decode()
            if float(metrics.split('realtime_readers{as="waiting"} ')[1].split("\n")[0]) >= 2:
                return
            await asyncio.sleep(0.02)


async def test_a_tab_that_was_hidden_for_ten_minutes_catches_up(
    server: Server, own_context: BrowserContext, console_errors: list[str], room: str
) -> None:
    await own_context.clock.install()
    await own_context.add_init_script(HIDEABLE)
    page = await open_chat(own_context, server.url, "sse", room)
    await page.evaluate("hide(true)")
    size = await page.evaluate("document.querySelectorAll('*').length")
    for minute in range(10):
        await page.clock.fast_forward(60_000)
        words = [f"minute {minute}, {n}" for n in range(20)]
        sending = (
            post(server.url, room, text=text, client=f"c{n % 5}") for n, text in enumerate(words)
        )
        await asyncio.gather(*sending)
    hidden_size = await page.evaluate("document.querySelectorAll('*').length")
    await page.evaluate("hide(false)")
    await expect(page.locator("#messages li[data-kind=say]")).to_have_count(200)
    await expect(message(page, "minute 9, 19")).to_have_count(1)
    # Twenty messages may share a chunk, and the wire view shows only its first 4,096 bytes.
    await expect(page.locator("#wire .wire-list")).to_contain_text(re.compile(r"minute \d, \d"))
    await post(server.url, room, text="at last")
    await expect(page.locator("#wire .wire-list")).to_contain_text("at last")
    await expect_no_gap(page)
    assert hidden_size < size + 100  # nothing is drawn for nobody
    assert console_errors == []


async def test_after_a_restart_of_the_server_the_audit_is_clean(
    servers: Servers, clock_context: BrowserContext, room: str
) -> None:
    """The same port, and a broker that keeps the history: all transports resume."""
    options = ("--messages-per-second", "0", "--port", str(free_port()))
    with servers.make("redis", *options) as old:
        page = await open_lab(clock_context, old, room)
        for n in range(10):
            await post(old.url, room, text=f"before {n}")
        for transport in TRANSPORTS:
            await expect(figure(page, transport, "received")).to_have_text("11")
    with servers.make("redis", *options) as new:
        for n in range(10):
            await post(new.url, room, text=f"after {n}")
        for transport in TRANSPORTS:
            said = page.locator(f'.pane[data-transport="{transport}"] .said')
            await expect_after_reconnect(page, said.filter(has_text="after 9"))
            await expect_clean(page, transport)
        await leave(page)
