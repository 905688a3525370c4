"""The lab: all transports side by side, with the same messages, measured and audited."""

import asyncio
import itertools
import re
from collections.abc import Iterator

import pytest
from playwright.async_api import BrowserContext, Locator, Page, Response, expect

from benchmarks.clients import get_json, post
from tests.browser.chat_page import HARD, TRANSPORTS
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module")
def lab() -> Iterator[Server]:
    options = ("--lanes", "6", "--networks", "2", "--messages-per-second", "0", "--key", "teacher")
    with Server("--hub", "auto", *options) as server:
        yield server


async def open_lab(context: BrowserContext, server: Server, room: str) -> Page:
    page = await context.new_page()
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
    return pane(page, transport).locator(f".figure.{name} dd")


async def expect_clean(page: Page, transport: str, received: int | None = None) -> None:
    if received is not None:
        await expect(figure(page, transport, "received")).to_have_text(f"{received:,}")
    await expect(figure(page, transport, "inFlight")).to_have_text("0")
    for name in ("missing", "duplicated", "reordered"):
        await expect(figure(page, transport, name)).to_have_text("0")


async def test_every_pane_shows_a_message_and_a_refused_one_returns_to_the_field(
    lab: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    page = await open_lab(context, lab, room)
    await expect(page.locator("#connections")).to_contain_text("6 ports")
    await page.fill("#text", HARD)
    await page.press("#text", "Enter")
    for transport in TRANSPORTS:
        said = pane(page, transport).locator(".said li[data-kind=say]")
        await expect(said).to_have_count(1)
        await expect(said).to_contain_text("alert(1)")
        await expect(said.locator(".took")).to_contain_text(re.compile("ms|s"))
        await expect_clean(page, transport, 2)  # and the page's own join
        await expect(figure(page, transport, "p50")).to_contain_text(re.compile(r"\d"))
    assert await page.evaluate("document.querySelectorAll('.said script').length") == 0
    assert console_errors == []
    await page.fill("#text", "长" * 4000)
    await page.press("#text", "Enter")
    await expect(page.locator("#sent")).to_contain_text("1 refused")
    await expect(page.locator("#text")).to_have_value("长" * 4000)
    await page.close()


async def test_scheduled_messages_are_all_shown_in_one_order(
    lab: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    page = await open_lab(context, lab, room)
    await page.select_option("#rate", "100")
    await page.select_option("#count", "200")
    await page.click("#send-many")
    await expect(page.locator("#sent")).to_have_text("200 sent, 0 to go", timeout=20_000)
    for transport in TRANSPORTS:
        await expect_clean(page, transport, 201)
    await expect(page.locator("#race canvas")).to_be_visible()
    assert console_errors == []
    await page.close()


async def test_the_byte_counts_are_the_server_s(
    lab: Server, context: BrowserContext, room: str
) -> None:
    page = await open_lab(context, lab, room)
    await post(lab.url, room, text="count me")
    await expect(figure(page, "sse", "received")).to_have_text("2")
    members = (await get_json(lab.url, f"/rooms/{room}/members"))["members"]
    row = (await get_json(lab.url, f"/wire?client={members[0]['client']}"))["transports"]["sse"]
    await expect(figure(page, "sse", "down")).to_have_text(f"{row['bytes_out']:,} B")
    await expect(figure(page, "sse", "up")).to_have_text(f"{row['bytes_in']:,} B")
    await expect(figure(page, "sse", "requests")).to_have_text("1")
    await expect(figure(page, "sse", "open")).to_have_text("1")
    await page.close()


async def test_a_pane_that_is_switched_off_and_on_misses_nothing(
    lab: Server, context: BrowserContext, room: str
) -> None:
    page = await open_lab(context, lab, room)
    await pane(page, "websocket").locator(".on").uncheck()
    await expect(state(page, "websocket")).to_have_attribute("data-state", "off")
    await post(lab.url, room, text="unheard")
    await expect(figure(page, "sse", "received")).to_have_text("2")
    await pane(page, "websocket").locator(".on").check()
    await expect(state(page, "websocket")).to_have_attribute("data-state", "open")
    await post(lab.url, room, text="heard")
    await expect_clean(page, "sse", 3)
    await expect_clean(page, "websocket", 1)
    await page.close()


async def test_every_pane_reports_a_reset_room_and_restarts_its_audit(
    lab: Server, context: BrowserContext, room: str
) -> None:
    page = await open_lab(context, lab, room)
    await post(lab.url, room, text="old")
    await expect(figure(page, "websocket", "received")).to_have_text("2")
    await page.evaluate(f"fetch('/rooms/{room}?key=teacher', {{ method: 'DELETE' }})")
    for transport in TRANSPORTS:
        await expect(pane(page, transport).locator(".gaps")).to_contain_text("Gaps received: 1")
    await post(lab.url, room, text="new")
    for transport in TRANSPORTS:
        await expect_clean(page, transport, 2)  # the members, and the messages since
    await page.close()


async def test_four_such_tabs_at_once_work(
    lab: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    pages = [await open_lab(context, lab, room) for _ in range(4)]
    for n, page in enumerate(pages):
        await page.bring_to_front()
        await page.fill("#text", f"from tab {n}")
        await page.press("#text", "Enter")
        for transport in TRANSPORTS:
            said = pane(page, transport).locator(".said li", has_text=f"from tab {n}")
            await expect(said).to_have_count(1)
    assert console_errors == []
    for page in pages:
        await page.close()


async def test_without_extra_ports_the_seventh_request_waits(
    server: Server, context: BrowserContext, room: str
) -> None:
    await context.clock.install()
    page = await open_lab(context, server, room)
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
    await page.close()


async def test_all_panes_connect_through_the_chosen_network(
    lab: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    page = await open_lab(context, lab, room)
    await page.select_option(".network-choice", "own")
    await page.fill(".own-network", "rtt=100ms")
    await page.press(".own-network", "Enter")
    await expect(page.locator(".network-state")).to_contain_text("Now through port")
    for transport in TRANSPORTS:
        await expect(state(page, transport)).to_have_attribute("data-state", "open")
    await page.fill("#text", "from far away")
    await page.press("#text", "Enter")
    for transport in TRANSPORTS:
        said = pane(page, transport).locator(".said li", has_text="from far away")
        await expect(said).to_have_count(1)
        took = await said.locator(".took").text_content()
        assert took is not None
        # At least half a round trip.
        assert took.endswith(" s") or float(took.removesuffix(" ms").replace(",", "")) >= 50
        await expect_clean(page, transport)
    assert console_errors == []
    await page.close()


async def test_its_first_load_is_small(lab: Server, context: BrowserContext, room: str) -> None:
    page = await context.new_page()
    sizes: dict[str, int] = {}

    async def count(response: Response) -> None:
        if "/demos/" in response.url or response.url.endswith(f"room={room}"):
            sizes[response.url] = len(await response.body())

    counting: list[asyncio.Task[None]] = []
    page.on("response", lambda response: counting.append(asyncio.ensure_future(count(response))))
    await page.goto(f"{lab.url}/demos/lab.html?room={room}")
    await expect(state(page, "websocket")).to_have_attribute("data-state", "open")
    await page.wait_for_function("window.uPlot !== undefined")
    await asyncio.gather(*counting)
    assert len(sizes) > 20
    # Our own files and the chart; the two libraries have a limit of their own.
    libraries = sum(size for url, size in sizes.items() if "-client/" in url)
    assert sum(sizes.values()) - libraries < 300_000
    assert libraries < 120_000
    await page.close()


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
            await page.click("#race")
    await sending
    for transport in TRANSPORTS:
        await expect_clean(page, transport)
    assert await page.evaluate(size) < nodes + 100
    assert await heap() < memory + 8_000_000
    assert console_errors == []
    await page.close()
