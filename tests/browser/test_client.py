"""client.js in a page of other people: over restarts of the server, and as the docs show it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page, expect

from realtime.client import get_json
from tests.browser.tabs import new_page
from tests.conftest import Servers
from tests.server_process import Server
from tests.test_clients_doc import ADDRESS, blocks
from tests.transports.readers import say_in

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TRANSPORTS = [
    *("short_polling", "long_polling", "iframe_streaming", "sse", "fetch_streaming", "websocket"),
]
EMPTY = "<!doctype html><meta charset=utf-8><title>a page</title>"
# Readers from "now" have no history, and so no cursor but the one that the client asks for.
CONNECT = """async ([room, transports]) => {
  const { connect } = await import("/demos/static/client.js");
  window.clients = transports.map((transport) => {
    const one = { transport, state: "", events: [] };
    one.connection = connect(room, {
      transport, after: "now", interval: 0.1,
      onEvent: (event) => one.events.push(event),
      onState: (state) => { one.state = state; },
    });
    return one;
  });
}"""
ALL_OPEN = """() => window.clients.every(({ state }) => state === "open")"""
# The browser fires "online" when the network is back.  A frame whose stream broke needs that to
# notice it, and nobody waits for a timer.
NONE_OPEN = """() => {
  dispatchEvent(new Event("online"));
  return window.clients.every(({ state }) => state !== "open");
}"""
SEND = """(text) => {
  window.sent = Promise.all(window.clients.map(
    ({ transport, connection }) => connection.send(`${transport} ${text}`)));
}"""
ALL_HAVE = """(text) => {
  dispatchEvent(new Event("online"));
  return window.clients.every(({ events }) => events.some((event) => event.text === text));
}"""
TAKE = "() => window.clients.map(({ events }) => events.splice(0))"
INTERVAL = 250  # ms between two of these


async def open_page(context: BrowserContext, server: Server, html: str = EMPTY) -> Page:
    """Open a page of the same origin that the server of the chat does not have.

    It replaces a response of the server, so its address is local for the browser, too, and it has
    no policy.
    """
    page = await new_page(context)
    await page.goto(f"{server.url}/healthz")
    await page.set_content(html)
    return page


@pytest_asyncio.fixture(loop_scope="session")
async def restartable(servers: Servers) -> AsyncIterator[Any]:
    """Start a server on Redis with a short history; at a port, again."""
    with ExitStack() as stack:

        async def start(*options: str) -> Server:
            options = ("--history-events", "20", "--messages-per-second", "0", *options)
            return await asyncio.to_thread(stack.enter_context, servers.make("redis", *options))

        yield start


async def test_every_transport_resumes_over_restarts_and_reports_a_gap(
    restartable: Any, own_context: BrowserContext, room: str
) -> None:
    server, other = await restartable(), await restartable()
    page = await open_page(own_context, server)
    await page.evaluate(CONNECT, [room, TRANSPORTS])
    await page.wait_for_function(ALL_OPEN)
    server.kill()
    await page.wait_for_function(NONE_OPEN, polling=INTERVAL)
    await say_in(other, room, "meanwhile")
    await page.evaluate(SEND, "while nobody listens")
    server = await restartable("--port", str(server.port))
    receipts = await page.evaluate("() => window.sent")
    await say_in(other, room, "end")
    await page.wait_for_function(ALL_HAVE, arg="end", polling=INTERVAL)
    await page.wait_for_function(ALL_OPEN)
    first, *others = await page.evaluate(TAKE)
    assert all(events == first for events in others)
    assert {event["kind"] for event in first} == {"say"}
    said = [event["text"] for event in first]
    assert (said[0], said[-1]) == ("meanwhile", "end")
    assert sorted(said[1:-1]) == sorted(f"{name} while nobody listens" for name in TRANSPORTS)
    ids = {event["id"] for event in first}
    assert len(ids) == len(first)
    assert {receipt["id"] for receipt in receipts} <= ids

    server.kill()
    await page.wait_for_function(NONE_OPEN, polling=INTERVAL)
    await say_in(other, room, *(str(number) for number in range(50)))
    await restartable("--port", str(server.port))
    await page.wait_for_function(ALL_HAVE, arg="49", polling=INTERVAL)
    for gap, *kept in await page.evaluate(TAKE):
        assert (gap["kind"], gap["reason"], gap["missed"]) == ("gap", "trimmed", 30)
        assert [event["text"] for event in kept] == [str(number) for number in range(30, 50)]


# --- the page of the docs ------------------------------------------------------------------------


async def test_the_page_of_the_docs_sends_and_receives(
    server: Server, context: BrowserContext, console_errors: list[str]
) -> None:
    (html,) = blocks("html")
    assert len(html.splitlines()) <= 30
    assert ADDRESS in html
    page = await open_page(context, server, html.replace(ADDRESS, f"127.0.0.1:{server.port}"))
    await expect(page.locator("#state")).to_have_text("open")
    await page.fill("#text", "hello from a page")
    await page.press("#text", "Enter")
    await expect(page.locator("#events li", has_text="say Ada hello from a page")).to_have_count(1)
    # A page that is closed leaves at once.
    await page.goto("about:blank")
    await expect_members(server, "lobby", 0)
    assert console_errors == []


async def test_the_code_of_the_docs_runs(
    server: Server, context: BrowserContext, console_errors: list[str]
) -> None:
    for code in blocks("js"):
        page = await open_page(context, server)
        module = code.replace(ADDRESS, f"127.0.0.1:{server.port}")
        await page.add_script_tag(content=f"{module}\nwindow.ended = true;", type="module")
        await page.wait_for_function("window.ended")
    events = (await get_json(server.url, "/rooms/lobby/short_polling"))["events"]
    said = [event["text"] for event in events if event["kind"] == "say"]
    assert said[-2:] == ["hello", "the same room, by another transport"]
    assert console_errors == []


async def test_the_example_sends_and_receives(
    server: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    page = await new_page(context)
    await page.goto(f"{server.url}/demos/example.html?room={room}&transport=sse")
    await expect(page.locator("#state")).to_have_text("open")
    await page.fill("#text", "hello from a page")
    await page.press("#text", "Enter")
    await expect(page.locator("#events li", has_text="say Ada hello from a page")).to_have_count(1)
    assert console_errors == []


# --- what a page learns --------------------------------------------------------------------------

REFUSED = """async (options) => {
  const { connect } = await import("/demos/static/client.js");
  const connection = connect(options.room, options);
  try {
    await connection.send(options.text);
    return "accepted";
  } catch ({ code, final }) {
    return [code, final];
  } finally {
    connection.close();
  }
}"""
STATE = """async (options) => {
  const { connect } = await import("/demos/static/client.js");
  return new Promise((resolve) => connect(options.room, {
    ...options,
    onState: (state, { error } = {}) => { if (state === "refused") resolve(error.code); },
  }));
}"""


async def test_a_refusal_has_the_code_of_the_server(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await open_page(context, server)
    for transport in ("websocket", "sse"):
        options = {"room": room, "transport": transport, "text": ""}
        assert await page.evaluate(REFUSED, options) == ["bad_text", True]
    assert await page.evaluate(STATE, {"room": "not a room"}) == "bad_room"
    assert await page.evaluate(STATE, {"room": room, "transport": "none"}) == "no_transport"


async def expect_members(server: Server, room: str, count: int) -> None:
    async with asyncio.timeout(20):
        while len((await get_json(server.url, f"/rooms/{room}/members"))["members"]) != count:
            await asyncio.sleep(0.05)


LIFE = """async (room) => {
  const { connect } = await import("/demos/static/client.js");
  const said = [];
  const onEvent = ({ kind, text }) => { if (kind === "say") said.push(text); };
  const listener = connect(room, { after: "now", onEvent });
  await listener.send("first");
  const member = connect(room, { transport: "sse", name: "Ada" });
  await member.send("second");
  member.disconnect();
  const late = member.send("third");
  const { unsent } = member;
  member.reconnect({ transport: "fetch_streaming" });
  await late;
  member.close();
  const closed = await member.send("fourth").catch(({ code }) => code);
  while (!said.includes("third")) await new Promise((resolve) => setTimeout(resolve, 20));
  listener.close();
  return [said, unsent.map(({ text }) => text), closed];
}"""


async def test_what_is_sent_meanwhile_waits_for_the_next_connection(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await open_page(context, server)
    said, unsent, closed = await page.evaluate(LIFE, room)
    assert said == ["first", "second", "third"]
    assert (unsent, closed) == (["third"], "network")
    await expect_members(server, room, 0)
