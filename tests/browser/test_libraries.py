"""The pages of SockJS and Socket.IO: which transport the library chooses, and how."""

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, expect

from realtime.client import post
from realtime.netem.proxy import Proxy
from tests.browser.chat_page import (
    HARD,
    Chat,
    expect_message,
    expect_no_gap,
    message,
    only,
    open_chat,
    send,
)
from tests.browser.tabs import leave, new_page
from tests.cases import each
from tests.conftest import Servers, missing
from tests.server_process import ROOT, Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

FILES = {"sockjs": "sockjs-client/sockjs.min.js", "socketio": "socket.io-client/socket.io.min.js"}
# In the order in which each library tries them.
LIBRARY_TRANSPORTS = {
    "sockjs": [
        *("websocket", "xhr-streaming", "eventsource"),
        *("iframe-eventsource", "xhr-polling", "iframe-xhr-polling"),
    ],
    "socketio": ["polling → websocket", "polling"],
}
# A SockJS session in a page of ours: sixty messages up and down again, over one transport.
OVER_ONE_TRANSPORT = """([transport, room]) => new Promise((done) => {
  const session = new SockJS("/sockjs", null, { transports: [transport] });
  const heard = [];
  let taken;
  const send = (message) => session.send(JSON.stringify(message));
  session.onopen = () => {
    taken = session.transport;
    send({ kind: "join", id: "join", room });
  };
  session.onmessage = ({ data }) => {
    const said = JSON.parse(data);
    for (let n = 0; said.id === "join" && n < 60; n += 1) {
      send({ text: `${n}</script> \\u2028 你😀` });
    }
    if (said.kind === "say") heard.push(said.text);
    if (heard.length === 60) session.close(1000, "done");
  };
  session.onclose = ({ code }) => done([taken, code, heard]);
})"""


@pytest.fixture(autouse=True)
def vendored() -> None:
    """The libraries, which set-up downloads."""
    for file in FILES.values():
        if not Path(ROOT, "demos", "vendor", file).exists():
            missing(f"demos/vendor/{file}")


# Before all others: their pages are those of the tests that follow.
@only("socketio")
async def test_the_upgrade_is_shown_packet_by_packet(chat: Chat) -> None:
    page = chat.page
    for step in ("hello", "open", "connect", "ask-upgrade", "probe", "probed", "upgrade", "event"):
        line = page.locator(f'#lesson [data-step="lesson.socketio.{step}"]')
        await expect(line.first).to_be_attached()
    await expect(page.locator('#lesson [data-part="sum"]')).to_contain_text("requests")
    await expect(page.locator("#wire")).to_contain_text("2probe")
    await expect(page.locator("#wire")).to_contain_text("3probe")


@only("sockjs")
async def test_the_requests_of_sockjs_before_the_first_message_are_shown(chat: Chat) -> None:
    page = chat.page
    for step in ("info", "ask", "open", "join", "events"):
        line = page.locator(f'#lesson [data-step="lesson.sockjs.{step}"]')
        await expect(line.first).to_be_attached()
    await expect(page.locator('#lesson [data-part="sum"]')).to_contain_text("2 requests")
    # The wire view recognizes a SockJS frame.
    await page.locator("#wire .wire-part", has_text='a["').first.click()
    await expect(page.locator("#wire .wire-explanation")).to_contain_text("SockJS: messages")


@only(*LIBRARY_TRANSPORTS)
async def test_after_a_forbidden_transport_the_library_uses_the_next_and_nothing_is_lost(
    chat: Chat,
) -> None:
    page, transport = chat.page, chat.transport
    said = []
    for number, used in enumerate(LIBRARY_TRANSPORTS[transport]):
        await expect(page.locator("#ways-taken")).to_have_text(used)
        await expect(page.locator("#state")).to_have_attribute("data-state", "open")
        said += [f"up {number}", f"{HARD} {number}"]
        await send(page, said[-2])
        # Delivered, not only waiting to be sent.
        await expect(message(page, said[-2]).locator(".delay")).to_contain_text("ms")
        await post(chat.server.url, chat.room, text=said[-1], client="eve", name="Eve")
        await expect(message(page, "alert(1)")).to_have_count(number + 1)
        if number + 1 < len(LIBRARY_TRANSPORTS[transport]):
            await page.uncheck(f"#allow-{used.split(' ')[-1]}")
    texts = await page.locator("#messages .text").all_text_contents()
    assert texts == said


@only("socketio")
async def test_without_an_allowed_transport_the_page_says_so(chat: Chat) -> None:
    page = chat.page
    await page.uncheck("#allow-websocket")
    await page.uncheck("#allow-polling")
    await expect(page.locator("#state")).to_have_attribute("data-state", "refused")
    await expect(page.locator("#state-text")).to_contain_text("No transport is allowed")
    await page.check("#allow-polling")
    await expect(page.locator("#ways-taken")).to_have_text("polling")


@each(
    ("transport", "allowed"),
    [("sockjs", "xhr-streaming"), ("sockjs", "websocket"), ("socketio", "polling")],
)
async def test_a_lost_session_resumes_by_its_cursor(
    servers: Servers, clock_context: BrowserContext, room: str, transport: str, allowed: str
) -> None:
    """Its process dies, and then more messages are sent than a new reader would receive."""
    room = f"{room}-{allowed}"
    missed = 60
    new = servers.get("redis", "--messages-per-second", "0")
    with servers.make("redis", "--messages-per-second", "0") as old:
        async with Proxy("127.0.0.1", old.port) as relay:
            page = await open_chat(clock_context, relay.url, transport, room)
            for other in LIBRARY_TRANSPORTS[transport]:
                if (name := other.split(" ")[-1]) != allowed:
                    await page.uncheck(f"#allow-{name}")
            await expect(page.locator("#ways-taken")).to_have_text(allowed)
            await post(old.url, room, text="before")
            await expect(message(page, "before")).to_have_count(1)
            relay.target = "127.0.0.1", new.port
            old.kill()
            for number in range(missed):
                await post(new.url, room, text=f"word {number}.")
            await expect_message(page, f"word {missed - 1}.")
            texts = await page.locator("#messages .text").all_text_contents()
            assert texts == ["before", *(f"word {number}." for number in range(missed))]
            await expect_no_gap(page)
            await leave(page)


@pytest.mark.parametrize("transport", FILES)
async def test_without_the_library_the_page_says_so(
    server: Server, context: BrowserContext, room: str, transport: str
) -> None:
    await context.route(f"**/{FILES[transport]}", lambda route: route.abort())
    page = await new_page(context)
    await page.goto(f"{server.url}/demos/{transport}.html?room={room}")
    await expect(page.locator("#state")).to_have_attribute("data-state", "refused")
    await expect(page.locator("#state-text")).to_contain_text("make vendor")


async def test_legacy_transports_work_where_they_are_enabled(
    servers: Servers, context: BrowserContext, room: str
) -> None:
    also = ("--sockjs-also", "jsonp", "--sockjs-also", "htmlfile", "--messages-per-second", "0")
    server = servers.get("memory", *also)
    page = await new_page(context)
    # A small page of ours: what it shows does not matter here.
    await page.goto(f"{server.url}/demos/sticky.html")
    await page.add_script_tag(url=f"/demos/vendor/{FILES['sockjs']}")
    for transport in ("htmlfile", "iframe-htmlfile", "jsonp-polling"):
        arguments = [transport, f"{room}-{transport}"]
        used, code, texts = await page.evaluate(OVER_ONE_TRANSPORT, arguments)
        assert (used, code) == (transport, 1000)
        assert texts == [f"{number}</script> \u2028 你😀" for number in range(60)]
