"""The pages of SockJS and Socket.IO: which way the library takes, and what it does until it has."""

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, expect

from benchmarks.clients import post
from realtime.netem.proxy import Proxy
from tests.browser.test_pages import HARD, enter, heard, room, say
from tests.conftest import Servers, missing
from tests.server_process import ROOT, Server

__all__ = ["room"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

FILES = {"sockjs": "sockjs-client/sockjs.min.js", "socketio": "socket.io-client/socket.io.min.js"}
# In the order in which each library tries them.
WAYS = {
    "sockjs": [
        *("websocket", "xhr-streaming", "eventsource"),
        *("iframe-eventsource", "xhr-polling", "iframe-xhr-polling"),
    ],
    "socketio": ["polling → websocket", "polling"],
}
# A session of the library's own, in a page of ours: sixty messages up, and down again, by one way.
BY_ONE_WAY = """([way, room]) => new Promise((done) => {
  const session = new SockJS("/sockjs", null, { transports: [way] });
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
    """What the pages borrow from others, which set-up fetches."""
    for file in FILES.values():
        if not Path(ROOT, "demos", "vendor", file).exists():
            missing(f"demos/vendor/{file}")


@pytest.mark.parametrize("transport", WAYS)
async def test_a_way_that_is_forbidden_is_followed_by_the_next_and_nothing_is_lost(
    server: Server, context: BrowserContext, complaints: list[str], room: str, transport: str
) -> None:
    page = await enter(context, server.url, transport, room)
    said = []
    for number, ways in enumerate(WAYS[transport]):
        await expect(page.locator("#ways-taken")).to_have_text(ways, timeout=15_000)
        await expect(page.locator("#state")).to_have_attribute("data-state", "open")
        said += [f"up {number}", f"{HARD} {number}"]
        await say(page, said[-2])
        # It has come back, and does not only wait to be sent.
        await expect(heard(page, said[-2]).locator(".delay")).to_contain_text("ms")
        await post(server.url, room, text=said[-1], client="eve", name="Eve")
        await expect(heard(page, "alert(1)")).to_have_count(number + 1)
        if number + 1 < len(WAYS[transport]):
            await page.uncheck(f"#allow-{ways.split(' ')[-1]}")
    texts = await page.locator("#messages .text").all_text_contents()
    assert texts == said
    assert complaints == []


@pytest.mark.parametrize(
    ("transport", "way"),
    [("sockjs", "xhr-streaming"), ("sockjs", "websocket"), ("socketio", "polling")],
)
async def test_a_session_that_is_lost_is_made_up_for_by_the_cursor(
    servers: Servers, context: BrowserContext, room: str, transport: str, way: str
) -> None:
    """The process that knew it dies, and more is said then than a newcomer would be told."""
    missed = 60
    with (
        servers.make("redis", "--messages-per-second", "0") as old,
        servers.make("redis", "--messages-per-second", "0") as new,
    ):
        async with Proxy("127.0.0.1", old.port) as relay:
            page = await enter(context, relay.url, transport, room)
            for other in WAYS[transport]:
                if (name := other.split(" ")[-1]) != way:
                    await page.uncheck(f"#allow-{name}")
            await expect(page.locator("#ways-taken")).to_have_text(way, timeout=15_000)
            await post(old.url, room, text="before")
            await expect(heard(page, "before")).to_have_count(1)
            relay.target = "127.0.0.1", new.port
            old.kill()
            for number in range(missed):
                await post(new.url, room, text=f"word {number}.")
            await expect(heard(page, f"word {missed - 1}.")).to_have_count(1, timeout=20_000)
            texts = await page.locator("#messages .text").all_text_contents()
            assert texts == ["before", *(f"word {number}." for number in range(missed))]
            assert await page.locator("#messages li[data-kind=gap]").count() == 0
            await page.close()


async def test_without_a_way_the_page_says_so(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await enter(context, server.url, "socketio", room)
    await page.uncheck("#allow-websocket")
    await page.uncheck("#allow-polling")
    await expect(page.locator("#state")).to_have_attribute("data-state", "refused")
    await expect(page.locator("#state-text")).to_contain_text("No way is allowed")
    await page.check("#allow-polling")
    await expect(page.locator("#ways-taken")).to_have_text("polling")


@pytest.mark.parametrize("transport", FILES)
async def test_without_the_library_the_page_says_so(
    server: Server, context: BrowserContext, room: str, transport: str
) -> None:
    await context.route(f"**/{FILES[transport]}", lambda route: route.abort())
    page = await context.new_page()
    await page.goto(f"{server.url}/demos/{transport}.html?room={room}")
    await expect(page.locator("#state")).to_have_attribute("data-state", "refused")
    await expect(page.locator("#state-text")).to_contain_text("make vendor")


async def test_the_upgrade_is_shown_packet_by_packet(
    server: Server, context: BrowserContext, complaints: list[str], room: str
) -> None:
    await post(server.url, room, text="before")
    page = await enter(context, server.url, "socketio", room)
    for step in ("hello", "open", "connect", "ask-upgrade", "probe", "probed", "upgrade", "event"):
        line = page.locator(f'#lesson [data-step="lesson.socketio.{step}"]')
        await expect(line.first).to_be_attached()
    await expect(page.locator('#lesson [data-part="sum"]')).to_contain_text("requests")
    await expect(page.locator("#wire")).to_contain_text("2probe")
    await expect(page.locator("#wire")).to_contain_text("3probe")
    assert complaints == []


async def test_what_sockjs_asks_before_the_first_message_is_shown(
    server: Server, context: BrowserContext, complaints: list[str], room: str
) -> None:
    await post(server.url, room, text="before")
    page = await enter(context, server.url, "sockjs", room)
    for step in ("info", "ask", "open", "join", "events"):
        line = page.locator(f'#lesson [data-step="lesson.sockjs.{step}"]')
        await expect(line.first).to_be_attached()
    await expect(page.locator('#lesson [data-part="sum"]')).to_contain_text("2 requests")
    # In "Every byte" a frame of SockJS is known as one, and the words in it are counted.
    await page.locator("#wire .wire-part", has_text='a["').first.click()
    await expect(page.locator("#wire .wire-explanation")).to_contain_text("SockJS: messages")
    assert complaints == []


@pytest.mark.parametrize("way", ["htmlfile", "iframe-htmlfile", "jsonp-polling"])
async def test_the_old_ways_work_where_they_are_switched_on(
    servers: Servers, context: BrowserContext, room: str, way: str
) -> None:
    also = ("--sockjs-also", "jsonp", "--sockjs-also", "htmlfile", "--messages-per-second", "0")
    server = servers.get("memory", *also)
    page = await context.new_page()
    await page.goto(f"{server.url}/demos/websocket.html?room={room}")
    await page.add_script_tag(url=f"/demos/vendor/{FILES['sockjs']}")
    transport, code, texts = await page.evaluate(BY_ONE_WAY, [way, room])
    assert (transport, code) == (way, 1000)
    assert texts == [f"{number}</script> \u2028 你😀" for number in range(60)]
