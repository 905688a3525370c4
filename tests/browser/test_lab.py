"""The lab: all transports side by side, with the same messages, measured and audited.

Most tests share one page, since it costs a second of CPU to open it.
"""

import asyncio
import itertools
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Locator, Page, Request, expect

from realtime.client import get_json, post
from tests.browser.chat_page import HARD, TRANSPORTS, expect_after_reconnect
from tests.browser.conftest import new_context
from tests.browser.tabs import leave, new_page
from tests.browser.test_networks import press
from tests.server_process import Server

# The transports whose colour is in the chart.
DRAWN = """(() => {
  const labels = [...document.querySelectorAll("#chart label")];
  const canvas = document.querySelector("#chart canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const drawn = new Set();
  for (let i = 0; i < data.length; i += 4) drawn.add(data.slice(i, i + 3).join());
  const colour = (label) => {
    label.style.color = "var(--way)";
    const { color } = getComputedStyle(label);
    label.style.color = "";
    return color.match(/\\d+/g).slice(0, 3).join();
  };
  return labels.filter((label) => drawn.has(colour(label))).map((label) => label.dataset.via);
})()"""

# How far each name in the chart reaches below the time axis, which is 34 px above the chart's end.
LABEL_BOTTOMS = """() => {
  const bottom = (selector) =>
    [...document.querySelectorAll(selector)].map((e) => e.getBoundingClientRect().bottom);
  const [axis] = bottom("#chart canvas").map((end) => end - 34);
  return bottom("#chart label").map((end) => end - axis);
}"""

# More than a pane waits before it says that nothing arrives.
LATE = 4_000

# What is cut off, or outside of the window, or over something else: each as text.
FAULTS = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)].filter(
    (e) => e.checkVisibility() && e.offsetWidth > 0 && !e.closest(".skip, .sr-only, dt"));
  const box = (e) => e.getBoundingClientRect();
  const row = (e) => e.closest("[data-transport]")?.dataset.transport ?? "";
  const name = (e) => `${row(e)} ${e.id || e.className || e.tagName}`;
  const cells = all(".pane > *:not(dialog, dl), .pane > dl dd");
  const everything = [...all("header *, .title *, .bar *, #more *, .columns *"), ...cells];

  const isOutside = (e) => {
    const { left, right, top, bottom } = box(e);
    return left < 0 || top < 0 || right > innerWidth || bottom > innerHeight;
  };
  // The latest message may be longer than its cell, and ends with an ellipsis.
  const isCutOff = (e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 1
    && !e.matches(".said, #ways, .pages, input");
  const overlap = (one, other) => {
    const [a, b] = [box(one), box(other)];
    return Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  };

  const faults = everything.filter(isOutside).map((e) => `outside: ${name(e)}`);
  faults.push(...everything.filter(isCutOff).map((e) => `cut off: ${name(e)}`));
  for (const group of [all(".bar > *, #more, .columns, .pane"), cells, all("#more > *")]) {
    group.forEach((one, n) => group.slice(n + 1).forEach((other) => {
      if (overlap(one, other)) faults.push(`over each other: ${name(one)}, ${name(other)}`);
    }));
  }
  return faults;
}"""

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module")
def lab() -> Iterator[Server]:
    options = ("--lanes", "6", "--networks", "2", "--messages-per-second", "0", "--key", "teacher")
    with Server("--hub", "auto", *options) as server:
        yield server


@dataclass(frozen=True)
class Lab:
    """A page that is open, in its room."""

    page: Page
    server: Server
    room: str
    loaded: list[Request]  # what finished before it was open
    errors: list[str]  # on the console


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def opened(browser: Browser, lab: Server) -> AsyncIterator[Lab]:
    """The lab as it opens, in a context of its own: with nothing in its cache, and with a clock."""
    errors: list[str] = []
    room = f"room-{secrets.token_hex(6)}"
    async with new_context(browser, errors, reduced_motion="reduce") as context:
        await context.clock.install()
        finished: list[Request] = []

        def on_finished(request: Request) -> None:
            finished.append(request)

        context.on("requestfinished", on_finished)
        page = await open_lab(context, lab, room)
        context.remove_listener("requestfinished", on_finished)
        yield Lab(page, lab, room, finished, errors)


@pytest_asyncio.fixture(loop_scope="session")
async def cleared(opened: Lab) -> Lab:
    """The same page without the figures of the test before, which leaves all panes connected."""
    page = opened.page
    await page.unroute_all()
    await page.set_viewport_size({"width": 1280, "height": 720})
    for transport in TRANSPORTS:
        await expect(state(page, transport)).to_have_attribute("data-state", "open")
    await page.click("#clear")
    for transport in TRANSPORTS:
        await expect(figure(page, transport, "received")).to_have_text("0")
    opened.errors.clear()
    return opened


async def open_lab(context: BrowserContext, server: Server, room: str) -> Page:
    page = await new_page(context)
    await page.goto(f"{server.url}/demos/lab.html?room={room}&name=Ada")
    for transport in TRANSPORTS:
        await expect(state(page, transport)).to_have_attribute("data-state", "open")
    await page.select_option("#interval", "0.2")
    return page


def pane(page: Page, transport: str) -> Locator:
    return page.locator(f'.pane[data-transport="{transport}"]')


def state(page: Page, transport: str) -> Locator:
    return pane(page, transport).locator(".state")


def figure(page: Page, transport: str, name: str) -> Locator:
    """A figure of the details, which are up to date while they are closed."""
    return pane(page, transport).locator(f".details .figure.{name} dd")


def audit(page: Page, transport: str) -> Locator:
    return pane(page, transport).locator(".audit")


async def expect_clean(page: Page, transport: str, received: int | None = None) -> None:
    if received is not None:
        await expect(figure(page, transport, "received")).to_have_text(f"{received:,}")
    await expect(figure(page, transport, "inFlight")).to_have_text("0")
    for name in ("missing", "duplicated", "reordered"):
        await expect(figure(page, transport, name)).to_have_text("0")
    await expect(audit(page, transport)).to_contain_text("✓")


# The first three tests read what the page has done since it opened.


async def test_its_first_load_is_small_and_has_no_chain_of_modules(
    opened: Lab,
) -> None:
    files = {
        path: await request.sizes()
        for request in opened.loaded
        if request.frame == opened.page.main_frame
        and (path := urlsplit(request.url).path).startswith("/demos.")
    }
    sizes = [size["responseBodySize"] + size["responseHeadersSize"] for size in files.values()]
    assert 0 < sum(sizes) < 300_000
    links = opened.page.locator("link[rel=modulepreload]")
    preloaded = await links.evaluate_all(
        "(links) => links.map((link) => new URL(link.href).pathname)"
    )
    modules = {path for path in files if re.match(r"/demos\.\w+/static/.*js$", path)}
    classic = {path for path in modules if path.endswith(("/static/theme.js", "/static/lab.js"))}
    assert modules - classic == set(preloaded)


async def test_every_pane_shows_a_message_and_a_refused_one_returns_to_the_field(
    opened: Lab,
) -> None:
    page = opened.page
    await expect(page.locator("#connections")).to_contain_text("6 ports")
    await page.fill("#text", HARD)
    await page.press("#text", "Enter")
    for transport in TRANSPORTS:
        said = pane(page, transport).locator(".said[data-kind=say]")
        await expect(said).to_contain_text("alert(1)")
        await expect(said.locator(".took")).to_contain_text(re.compile("ms|s"))
        await expect_clean(page, transport, 2)  # and the page's own join
        for name in ("p50", "bytes_each", "requests_each"):
            shown = pane(page, transport).locator(f".figures .{name} dd")
            await expect(shown).to_contain_text(re.compile(r"\d"))
    # One request for two events.
    await expect(figure(page, "sse", "requests_each")).to_have_text("1 per 2")
    assert await page.evaluate("document.querySelectorAll('.said script').length") == 0
    assert opened.errors == []
    await page.fill("#text", "长" * 4000)
    await page.press("#text", "Enter")
    await expect(page.locator("#sent")).to_contain_text("1 refused")
    await expect(page.locator("#text")).to_have_value("长" * 4000)
    await page.fill("#text", "")


async def test_the_byte_counts_are_the_server_s(
    opened: Lab,
) -> None:
    page = opened.page
    await post(opened.server.url, opened.room, text="count me")
    await expect(pane(page, "sse").locator(".said")).to_contain_text("count me")
    async with page.expect_request("**/wire?*") as requested:  # it has the secret of the page
        query = urlsplit((await requested.value).url).query
    row = (await get_json(opened.server.url, f"/wire?{query}"))["transports"]["sse"]
    await expect(figure(page, "sse", "down")).to_have_text(f"{row['bytes_out']:,} B")
    await expect(figure(page, "sse", "up")).to_have_text(f"{row['bytes_in']:,} B")
    await expect(figure(page, "sse", "requests")).to_have_text("1")
    await expect(figure(page, "sse", "open")).to_have_text("1")


# Collects the sockets that send a schedule: they are no member's.
SENDERS = """() => {
  window.senders = [];
  window.WebSocket = class extends WebSocket {
    frames = 0;
    constructor(url) {
      super(url);
      if (!`${url}`.includes("client=")) senders.push(this);
    }
    send(data) {
      this.frames += 1;
      super.send(data);
    }
  };
}"""
ORIGINAL = "() => { window.WebSocket = Object.getPrototypeOf(WebSocket); }"


async def test_scheduled_messages_are_all_shown_in_one_order_even_if_their_socket_breaks(
    cleared: Lab,
) -> None:
    page = cleared.page
    before = int((await page.locator("#sent").text_content() or "0").split()[0])
    await page.evaluate(SENDERS)
    await page.select_option("#rate", "50")
    await page.select_option("#count", "50")
    await page.click("#send-many")
    await page.wait_for_function("() => senders[0].frames > 9")
    await page.evaluate("senders[0].close()")
    await expect(page.locator("#sent")).to_have_text(f"{before + 50} sent, 0 to go")
    # The schedule is over, and so are its sockets.
    await page.wait_for_function("() => senders.every(({ readyState }) => readyState >= 2)")
    for transport in TRANSPORTS:
        await expect_clean(page, transport, 50)
    await page.evaluate(ORIGINAL)
    await page.locator("#chart").scroll_into_view_if_needed()
    for transport in ("short_polling", "sse"):
        await page.locator(f"#chart label[data-via={transport}]").click()
        await page.wait_for_function(f"{DRAWN}.join() === '{transport}'")  # all others are grey
    bottoms = await page.evaluate(LABEL_BOTTOMS)
    assert len(bottoms) == len(TRANSPORTS)
    assert max(bottoms) <= 0, "a name is beside the title of the time axis"
    await page.click("#clear")
    for transport in TRANSPORTS:
        await expect(figure(page, transport, "received")).to_have_text("0")
        for name in ("p50", "bytes_each", "requests_each"):
            await expect(figure(page, transport, name)).to_have_text("–")
    assert cleared.errors == []


async def test_a_pane_that_is_switched_off_and_on_misses_nothing(cleared: Lab) -> None:
    page, url, room = cleared.page, cleared.server.url, cleared.room
    await pane(page, "websocket").locator(".on").uncheck()
    await expect(state(page, "websocket")).to_have_attribute("data-state", "off")
    await post(url, room, text="unheard")
    await expect(figure(page, "sse", "received")).to_have_text("1")
    await pane(page, "websocket").locator(".on").check()
    await expect(state(page, "websocket")).to_have_attribute("data-state", "open")
    await post(url, room, text="heard")
    await expect_clean(page, "sse", 2)
    await expect_clean(page, "websocket", 1)


async def test_every_pane_reports_a_reset_room_and_restarts_its_audit(cleared: Lab) -> None:
    page, url, room = cleared.page, cleared.server.url, cleared.room
    await post(url, room, text="old")
    await expect(figure(page, "websocket", "received")).to_have_text("1")
    await page.evaluate(f"fetch('/rooms/{room}?key=teacher', {{ method: 'DELETE' }})")
    for transport in TRANSPORTS:
        await expect(pane(page, transport).locator(".note")).to_contain_text("this room was reset")
        await expect(figure(page, transport, "gaps")).to_have_text("1")
    await post(url, room, text="new")
    for transport in TRANSPORTS:
        await expect_clean(page, transport, 2)  # the members, and the messages since


# Through one port two tabs would need more than its six connections.
async def test_two_such_tabs_at_once_work(
    lab: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    pages = [await open_lab(context, lab, room) for _ in range(2)]
    for n, page in enumerate(pages):
        await page.bring_to_front()
        await page.fill("#text", f"from tab {n}")
        await page.press("#text", "Enter")
        for transport in TRANSPORTS:
            said = pane(page, transport).locator(".said")
            await expect(said).to_contain_text(f"from tab {n}")
    assert console_errors == []
    for page in pages:
        await leave(page)


async def test_without_extra_ports_the_seventh_request_waits(
    server: Server, clock_context: BrowserContext, room: str
) -> None:
    page = await open_lab(clock_context, server, room)
    await expect(page.locator("#connections")).to_contain_text("uses 4 of its 6")
    await page.click("#starve")
    await expect(page.locator("#starving")).to_contain_text("It waits")
    await page.clock.fast_forward(4_000)
    await expect(page.locator("#starving")).to_contain_text("The response came after")
    words = await page.locator("#starving").text_content()
    assert words is not None
    waited = re.search(r"after ([\d.]+) s", words)
    assert waited
    assert float(waited[1]) >= 4  # until a connection was released


async def test_all_panes_connect_through_the_chosen_network_and_a_disconnect_loses_nothing(
    cleared: Lab,
) -> None:
    page = cleared.page
    await page.select_option(".network-choice", "own")
    await page.fill(".own-network", "rtt=100ms")
    await page.press(".own-network", "Enter")
    await expect(page.locator(".network-state")).to_contain_text("Now through port")
    for transport in TRANSPORTS:
        await expect(state(page, transport)).to_have_attribute("data-state", "open")
    await page.fill("#text", "from far away")
    await page.press("#text", "Enter")
    for transport in TRANSPORTS:
        said = pane(page, transport).locator(".said")
        await expect(said).to_contain_text("from far away")
        took = await said.locator(".took").text_content()
        assert took is not None
        # At least half a round trip.
        assert took.endswith(" s") or float(took.removesuffix(" ms").replace(",", "")) >= 50
        await expect_clean(page, transport)
    assert cleared.errors == []
    await press(page, "Disconnect for 5 s")
    await expect(page.locator(".network-state")).to_contain_text("TCP connections are reset")
    await post(cleared.server.url, cleared.room, text="while the plug was out")
    for transport in TRANSPORTS:
        said = pane(page, transport).locator(".said")
        await expect_after_reconnect(page, said.filter(has_text="while the plug was out"))
        await expect_clean(page, transport, 2)
    await release(page)


@pytest.mark.clocked
async def test_two_hundred_messages_a_second_leave_it_responsive(
    lab: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    page = await open_lab(context, lab, room)
    cdp = await context.new_cdp_session(page)
    size = "document.querySelectorAll('*').length"

    async def heap() -> int:
        await cdp.send("HeapProfiler.collectGarbage")
        return int(await page.evaluate("performance.memory.usedJSHeapSize"))

    numbers = itertools.count()

    async def send_for(seconds: float) -> None:
        """Eight senders at once: 200 messages a second, if this machine is fast enough."""
        end = asyncio.get_running_loop().time() + seconds

        async def one() -> None:
            while asyncio.get_running_loop().time() < end:
                await post(lab.url, room, text=f"number {next(numbers)}")
                await asyncio.sleep(0.04)

        await asyncio.gather(*(one() for _ in range(8)))

    await send_for(3)
    nodes, memory = await page.evaluate(size), await heap()
    sending = asyncio.ensure_future(send_for(7))
    for _ in range(10):
        # A busy page does not react to clicks: it must react to each of these.
        async with asyncio.timeout(2):
            await page.click(".title")
    await sending
    for transport in TRANSPORTS:
        await expect_clean(page, transport)
    assert await page.evaluate(size) < nodes + 100
    assert await heap() < memory + 8_000_000
    assert console_errors == []


# --- the layout ----------------------------------------------------------------------------------


async def test_everything_fits_one_projector_screen_even_while_the_network_is_down(
    lab: Server, context: BrowserContext, room: str
) -> None:
    page = await open_lab(context, lab, room)
    await page.set_viewport_size({"width": 1280, "height": 720})
    assert await page.evaluate(FAULTS) == []
    await page.select_option(".network-choice", "delay")
    await expect(page.locator(".network-state")).to_contain_text("Now through port")
    for transport in TRANSPORTS:
        await expect(state(page, transport)).to_have_attribute("data-state", "open")
    await page.fill("#text", "wide " * 100)
    await page.press("#text", "Enter")
    for transport in TRANSPORTS:
        await expect(pane(page, transport).locator(".said")).to_contain_text("wide")
    await page.get_by_role("button", name="Disconnect for 5 s").click()
    await expect(page.locator(".network-state")).to_contain_text("TCP connections are reset")
    await page.fill("#text", "to nobody")
    await page.press("#text", "Enter")
    # The browser reports nothing about the frame, so the page says what it does not know.
    await expect(state(page, "iframe_streaming")).to_have_attribute("data-state", "late")
    await expect(pane(page, "iframe_streaming").locator(".note")).to_contain_text(
        "No browser reports"
    )
    await expect(audit(page, "iframe_streaming")).to_contain_text("1 pending")
    assert await page.evaluate(FAULTS) == []
    await page.click("#big")
    figures = page.locator(".pane > .figures dd")
    assert await figures.count() == 3 * len(TRANSPORTS)
    for size in await figures.evaluate_all("(all) => all.map((e) => getComputedStyle(e).fontSize)"):
        assert float(size.removesuffix("px")) >= 28
    assert await page.evaluate(FAULTS) == []
    await expect(page.locator("#racing")).to_be_hidden()
    await page.click("#big")
    # What is over is no longer shown.
    await expect(page.locator(".network-state")).to_contain_text("Now through port")
    await release(page)
    await page.close()


async def release(page: Page) -> None:
    """Release the network, for the next test."""
    async with page.expect_request_finished(lambda request: request.method == "DELETE"):
        await page.select_option(".network-choice", "none")


async def test_on_a_phone_the_controls_stay_in_reach_and_the_rows_are_compact(
    cleared: Lab,
) -> None:
    page = cleared.page
    await page.set_viewport_size({"width": 390, "height": 844})
    await post(cleared.server.url, cleared.room, text="to a phone")
    rows = page.locator(".pane")
    for transport in TRANSPORTS:
        await expect(pane(page, transport).locator(".said")).to_contain_text("to a phone")
    heights = await rows.evaluate_all("(rows) => rows.map((row) => row.offsetHeight)")
    assert max(heights) < 70
    faults = await page.evaluate(FAULTS)
    assert [fault for fault in faults if "outside" not in fault] == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    for control in ("#text", ".network-choice", "#send-many"):
        await expect(page.locator(control)).to_be_in_viewport()
    await page.evaluate("scrollTo(0, document.body.scrollHeight)")
    for control in ("#text", ".network-choice", "#send-many"):
        await expect(page.locator(control)).to_be_in_viewport()
    await page.evaluate("scrollTo(0, 0)")
    await page.click("#big")
    faults = await page.evaluate(FAULTS)
    assert [fault for fault in faults if "over each other" in fault] == []
    await page.click("#big")
    # A zoom of 200 % on a projector: the controls leave room for the rows.
    await page.set_viewport_size({"width": 640, "height": 360})
    assert await page.evaluate("document.querySelector('.bar').offsetHeight") < 130
    assert await page.evaluate("document.documentElement.scrollWidth") <= 640


# --- what the page does not know -----------------------------------------------------------------


async def test_behind_a_buffering_proxy_the_streams_say_that_nothing_arrives(
    cleared: Lab,
) -> None:
    page = cleared.page
    await page.select_option(".network-choice", "buffering")
    streams = ("iframe_streaming", "sse", "fetch_streaming")
    for transport in TRANSPORTS:
        expected = "connecting" if transport in streams else "open"
        await expect(state(page, transport)).to_have_attribute("data-state", expected)
    await page.clock.fast_forward(LATE)
    for transport in streams:
        note = pane(page, transport).locator(".note")
        await expect(note).to_contain_text("No response for")
    await release(page)


async def test_when_all_networks_are_in_use_the_page_stays_on_the_direct_one_and_says_so(
    cleared: Lab,
) -> None:
    page = cleared.page
    others = [await lease(page) for _ in range(2)]
    await page.select_option(".network-choice", "delay")
    await expect(page.locator(".network-state")).to_contain_text("all 2 are in use")
    await expect(page.locator(".network-state")).to_contain_text("directly to the server")
    await expect(page.locator(".network-choice")).to_have_value("none")
    await unlease(page, others.pop())
    async with page.expect_response("**/networks?*") as leased:
        await page.select_option(".network-choice", "delay")
    await expect(page.locator(".network-state")).to_contain_text("Now through port")
    # Before a network is written, the last one stays in effect.
    await page.select_option(".network-choice", "own")
    await expect(page.locator(".network-state")).to_contain_text("rtt=200ms")
    # The server ends the lease.
    await unlease(page, (await (await leased.value).json())["id"])
    await page.get_by_role("button", name="Pause for 5 s").click()
    await expect(page.locator(".network-state")).to_contain_text("no_network")
    await expect(page.locator(".network-choice")).to_have_value("none")
    for transport in TRANSPORTS:
        await expect(state(page, transport)).to_have_attribute("data-state", "open")
    await unlease(page, others.pop())


async def lease(page: Page) -> str:
    lent = "fetch('/networks?network=none', { method: 'POST' }).then((r) => r.json())"
    return str((await page.evaluate(lent))["id"])


async def unlease(page: Page, id: str) -> None:
    await page.evaluate(f"fetch('/networks/{id}', {{ method: 'DELETE' }})")
