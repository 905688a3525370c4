"""The lessons: what each page shows of its own transport is what happened on the network."""

import base64
import hashlib
import re
from collections.abc import Iterator

import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from realtime.client import post
from tests.browser.chat_page import Chat, message, only, open_tab, send
from tests.browser.chat_page import open_chat as open_page
from tests.browser.tabs import leave, new_page
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# Milliseconds that the lesson takes to publish its megabyte, so that people can watch.
PUBLISHING = 7_000
# For the one test that needs it: 100 ms each way between the page and the server.
HIGH_LATENCY = """
export async function networkControl(element, onChange) {
  const lease = await fetch("/networks?network=rtt%3D200ms", { method: "POST" });
  const { port } = await lease.json();
  onChange(`http://${location.hostname}:${port}/`);
}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with network proxies, frequent heartbeats, and senders who need not wait."""
    options = ("--networks", "4", "--heartbeat-seconds", "1", "--messages-per-second", "0")
    with Server("--hub", "memory", *options) as server:
        yield server


async def open_chat(
    context: BrowserContext, url: str, transport: str, room: str, tab: str = ""
) -> Page:
    page = await open_page(context, url, transport, room)
    await open_lesson(page, tab)
    return page


async def open_lesson(page: Page, tab: str) -> None:
    """Show the lesson, and a part of it, where it has several."""
    await open_tab(page, "A closer look")
    if tab:
        await open_tab(page, tab)


async def lesson(chat: Chat, tab: str) -> Page:
    await open_lesson(chat.page, tab)
    return chat.page


def part(page: Page, name: str) -> Locator:
    return page.locator(f'#lesson [data-part="{name}"]')


def figures(text: str) -> list[float]:
    return [float(figure) for figure in re.findall(r"\d+(?:\.\d+)?", text.replace(",", ""))]


# --- WebSocket -----------------------------------------------------------------------------------


@only("websocket")
async def test_the_handshake_is_this_connection_s(chat: Chat) -> None:
    page = await lesson(chat, "The handshake")
    await expect(part(page, "whose")).to_contain_text("of this page’s connection")
    key = await part(page, "key").input_value()
    accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
    steps = part(page, "steps")
    for step in ("base64", "answer"):
        await expect(steps.locator(f"[data-step={step}]")).to_contain_text(accept)
    await expect(steps.locator("[data-step=sha1] .octets span")).to_have_count(20)
    await expect(steps.locator("[data-same=true]")).to_be_visible()

    await part(page, "key").fill("dGhlIHNhbXBsZSBub25jZQ==")
    await expect(steps.locator("[data-step=base64]")).to_contain_text(
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    )
    await expect(steps.locator("[data-same=false]")).to_be_visible()

    await part(page, "again").click()
    await expect(steps.locator("[data-same=true]")).to_be_visible()
    assert await part(page, "key").input_value() not in (key, "dGhlIHNhbXBsZSBub25jZQ==")


@only("websocket")
async def test_a_frame_is_shown_bit_by_bit_and_unmasked(chat: Chat) -> None:
    page = await lesson(chat, "A frame, bit by bit")
    await send(page, "你好, mask")
    await part(page, "frames").locator('[data-direction="up"][data-opcode="1"]').first.click()
    await expect(part(page, "text")).to_contain_text("你好, mask")
    spoken = (await part(page, "text").inner_text()).encode()

    bits = "".join(await part(page, "bits").locator(".bit").all_inner_texts())
    head = int(bits, 2).to_bytes(len(bits) // 8, "big")
    assert head[:2] == b"\x81\xfe"  # FIN and text; MASK and "two bytes of length follow"
    assert int.from_bytes(head[2:4], "big") == len(spoken)
    for i, column in enumerate(await part(page, "xor").locator("li").all()):
        masked, mask, plain, _ = await column.locator("code").all_inner_texts()
        assert int(mask[1:], 16) == head[4 + i % 4]
        assert int(masked, 16) ^ head[4 + i % 4] == int(plain[1:], 16) == spoken[i]

    await part(page, "frames").locator('[data-direction="down"]').last.click()
    await expect(part(page, "xor").locator("li")).to_have_count(0)
    await expect(part(page, "mask")).to_contain_text("not masked")


@only("websocket")
async def test_control_frames_are_shown_and_only_the_last_frames_are_kept(chat: Chat) -> None:
    page = await lesson(chat, "A frame, bit by bit")
    frames = part(page, "frames")
    await expect(frames.locator('[data-opcode="9"][data-direction="down"]').first).to_be_visible()
    await frames.locator('[data-opcode="10"][data-direction="up"]').first.click()
    await expect(part(page, "about")).to_contain_text("§5.5.3")
    await open_tab(page, "The handshake")
    await part(page, "again").click()
    await open_tab(page, "A frame, bit by bit")
    # The list is drawn again with each frame of the new connection: click when it has opened.
    await expect(frames.locator('[data-opcode="8"]').first).to_be_visible()
    await expect(page.locator("#state")).to_have_attribute("data-state", "open")
    await frames.locator('[data-opcode="8"]').first.click()
    await expect(part(page, "about")).to_contain_text("§7.4")
    mine = frames.locator('[data-direction="up"][data-opcode="1"]')
    count = 1 + await mine.count()
    await send(page, "my own")
    await expect(mine).to_have_count(count)
    await frames.locator('[data-direction="down"][data-opcode="1"]').last.click()
    shown = await part(page, "text").inner_text()
    for n in range(20):
        await post(chat.server.url, chat.room, text=f"word {n}")
    await expect(message(page, "word 19")).to_have_count(1)
    await expect(page.locator("#wire .wire-list")).to_contain_text("word 19")
    await expect(frames.locator("button")).to_have_count(12)
    # But our own messages stay, and so does the frame that is shown.
    await expect(mine).to_have_count(count)
    await expect(frames.locator("[aria-pressed=true]")).to_have_count(1)
    assert await part(page, "text").inner_text() == shown


async def run_slowly(page: Page) -> None:
    """Start the lesson; from its first message on it publishes as fast as it can."""
    await part(page, "slow-run").click()
    await expect(part(page, "slow-figures")).to_contain_text(re.compile("Published [1-9]"))
    await page.clock.fast_forward(PUBLISHING)


@only("websocket")
async def test_a_slow_reader_slows_the_server_down_unless_the_browser_reads_for_it(
    chat: Chat,
) -> None:
    page = await lesson(chat, "Backpressure, seen")
    result, words = (part(page, f"slow-{name}") for name in ("result", "figures"))
    await run_slowly(page)
    await expect(words).to_contain_text(re.compile(r"Published 1,0\d\d kB"))
    published, sent, read, log, _, queued = figures(await words.inner_text())
    # The server has not sent what the page does not read, and the page keeps nothing.
    assert published > sent > read
    assert (log > 0, queued) == (True, 0)
    await part(page, "slow-speed").select_option("1000")
    await expect(result).to_have_text("The page has read all 250 messages.", timeout=60_000)
    await part(page, "slow-kind").select_option("socket")
    await part(page, "slow-speed").select_option("0")
    await run_slowly(page)
    await expect(words).to_contain_text(re.compile(r"read by the page 0 B.* memory: [1-9]"))
    await part(page, "slow-speed").select_option("1000")
    await expect(result).to_have_text("The page has read all 250 messages.", timeout=60_000)


async def test_a_reader_that_has_stopped_is_disconnected_and_the_page_says_so(
    clock_context: BrowserContext, room: str
) -> None:
    options = ("--write-deadline-seconds", "1", "--messages-per-second", "0")
    with Server("--hub", "memory", *options) as server:
        page = await open_chat(clock_context, server.url, "websocket", room, "Backpressure, seen")
        await part(page, "slow-speed").select_option("0")
        await run_slowly(page)
        closed = "The server has closed the connection: 1006."
        await expect(part(page, "slow-result")).to_contain_text(closed, timeout=60_000)
        _, sent, read, *_ = figures(await part(page, "slow-figures").inner_text())
        assert sent > read == 0
        await leave(page)


# --- WebTransport --------------------------------------------------------------------------------


@only("webtransport")
async def test_on_a_lossy_line_streams_are_late_and_datagrams_are_lost(chat: Chat) -> None:
    page = await lesson(chat, "Head-of-line blocking, seen")
    await part(page, "loss").select_option("10")
    await part(page, "run").click()
    await expect(part(page, "progress")).to_have_text(
        "Sent through rtt=100ms,loss=10%.", timeout=60_000
    )
    rows = await part(page, "figures").locator("tr").all()
    websocket, stream, datagrams = [
        [figures(cell)[0] for cell in await row.locator("td").all_inner_texts()] for row in rows
    ]
    # The cells: received, lost, late, p50, p95, longest.  A busy machine is slower, never faster.
    for reliable in (websocket, stream):
        assert reliable[:2] == [100, 0]
        assert reliable[2] > 0
        assert reliable[5] > 150
    assert datagrams[0] + datagrams[1] == 100
    assert datagrams[1] > 0
    for lane, lost in (("websocket", 0), ("webtransport", datagrams[1])):
        drawn = part(page, "delays").locator(f"g[data-via={lane}]").last
        await expect(drawn.locator(".lost")).to_have_count(int(lost))


@only("webtransport")
async def test_a_lost_packet_holds_back_its_stream_alone(chat: Chat) -> None:
    page = await lesson(chat, "What a lost packet holds back")
    drawings = part(page, "modes").locator("svg")

    async def expect_waiting(*counts: int) -> None:
        for drawing, count in zip(await drawings.all(), counts, strict=True):
            await expect(drawing).to_have_attribute("aria-label", re.compile(f"wait: {count}$"))
            await expect(drawing.locator(".waiting")).to_have_count(count)

    await expect_waiting(4, 1, 0)
    await page.get_by_role("button", name="Packet 3").click()
    await expect_waiting(0, 0, 0)
    await page.get_by_role("button", name="Packet 1", exact=True).click()
    await expect(drawings.nth(2).locator("circle")).to_have_count(8)


# --- iframe streaming ----------------------------------------------------------------------------


async def test_kept_blocks_grow_and_removed_ones_do_not(
    server: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    page = await open_chat(
        context, server.url, "iframe_streaming", room, "What an endless page keeps"
    )
    await part(page, "open").click()
    await part(page, "count").select_option("50")
    await part(page, "say").click()
    rows = part(page, "frames").locator("tr")
    for i in range(2):
        await expect(rows.nth(i).locator("td").first).to_have_text("50")
    await expect(part(page, "progress")).to_contain_text("50")
    removed, kept = [figures(await row.inner_text()) for row in await rows.all()]
    assert removed[1] < 20
    assert kept[1] >= 3 * 50
    assert kept[2] > 50 * 200 > 1000 > removed[2]
    assert await page.locator("#messages li[data-kind=say]").count() == 0, (
        "the chat received them too"
    )
    assert console_errors == []


@pytest.mark.parametrize(
    ("how", "state", "load"),
    [("markup", "interactive", "not"), ("load", "complete", "has"), ("after", "complete", "has")],
)
async def test_a_frame_in_the_markup_keeps_its_page_loading(
    *,
    server: Server,
    context: BrowserContext,
    console_errors: list[str],
    room: str,
    how: str,
    state: str,
    load: str,
) -> None:
    page = await new_page(context)
    await page.goto(f"{server.url}/demos/spinner.html?how={how}&room={room}", wait_until="commit")
    await expect(page.locator("#ready")).to_have_text(state)
    await expect(page.locator("#how")).to_contain_text("The frame of this page")
    await expect(page.locator("main")).not_to_contain_text("<code>")
    await page.click("#say")
    await expect(page.locator("#heard")).not_to_have_text("0")
    await expect(page.locator("#load")).to_contain_text(load)
    await expect(page.locator("#frame-state")).to_have_text("loading")
    await expect(page.locator("#others a")).to_have_count(2)
    assert console_errors == []


# --- the polls -----------------------------------------------------------------------------------


@pytest.mark.clocked
async def test_a_message_in_the_blind_time_of_a_long_poll_takes_three_transits(
    server: Server, own_context: BrowserContext, room: str
) -> None:
    await own_context.route(
        "**/static/networks.js",
        lambda route: route.fulfill(content_type="text/javascript", body=HIGH_LATENCY),
    )
    page = await open_chat(own_context, server.url, "long_polling", room)
    # From now on the page is connected through the slow network.
    slow = re.compile(r"round trip of \d{3} ms")
    await expect(part(page, "figures")).to_contain_text(slow)
    await open_tab(page, "Two messages, one millisecond apart")
    # Both messages may arrive before the response leaves, and share it: then try again.
    for _ in range(10):
        await part(page, "say").click()
        await expect(part(page, "say")).to_be_enabled()
        if "two responses" in await part(page, "verdict").inner_text():
            break
    first, second = [figures(await row.inner_text()) for row in await travelled(page)]
    # The cells: sent, response, delay, transits.  A busy machine is slower, never faster.
    assert (first[-3], second[-3]) == (1, 2)
    assert first[-2] >= 100
    assert second[-2] >= 300
    assert second[-2] - first[-2] >= 190
    trip = figures(await part(page, "verdict").inner_text())[0]
    assert trip >= 200
    assert second[-1] == pytest.approx(second[-2] / (trip / 2), abs=0.2)
    by_server = part(page, "figures").locator("tr").nth(1).locator("td")
    assert figures(await by_server.nth(1).inner_text())[0] >= 195


async def travelled(page: Page) -> list[Locator]:
    return await part(page, "travelled").locator("tr").all()


@pytest.mark.clocked
async def test_the_interval_of_a_short_poll_is_compared_with_delay_and_waste(
    server: Server, context: BrowserContext, room: str
) -> None:
    # What was in the room before takes 80 kB, and is no message of the lesson.
    for n in range(40):
        await post(server.url, room, text="x" * 2_000, client=f"c{n}")
    page = await open_chat(context, server.url, "short_polling", room)
    await page.locator("#interval").fill("0.5")
    await expect(page.locator("#interval-shown")).to_have_text("0.5 s")
    await part(page, "say").click()
    await expect(part(page, "progress")).to_have_text("sent 20 of 20")
    row = part(page, "rows").locator("tr").first
    await expect(row.locator("td").nth(2)).to_have_text("20")
    await expect(row.locator("td").nth(1)).to_have_text(
        re.compile("^[1-9]")
    )  # idle time costs, too
    cells = [figures(text) for text in await row.locator("th, td").all_inner_texts()]
    (interval,), (requests,), (empty, _), _, (mean, half), (worst, whole), (spent,) = cells
    assert (interval, half, whole) == (0.5, 0.25, 0.5)
    assert 0 < empty < requests
    assert 0.05 < mean < worst
    assert 300 < spent < 3000
    assert await part(page, "chart").locator("circle").count() >= 15
    # The interval of the first poll, which brought the old messages.
    await page.locator("#interval").fill("2")
    await send(page, "one more")
    first = part(page, "rows").locator("tr", has_text=re.compile("^2 s"))
    await expect(first.locator("td").nth(2)).to_have_text("1")
    assert figures(await first.locator("td").last.inner_text())[0] < 10_000


# --- the streams ---------------------------------------------------------------------------------


# On a page that no other test uses: the browser reports the reset as an error on the console.
async def test_the_browser_resumes_a_broken_stream_of_events(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await open_chat(context, server.url, "sse", room)
    await part(page, "break").click()
    steps = part(page, "steps").locator("li")
    await expect(steps).to_have_count(6, timeout=20_000)
    order = [await step.get_attribute("data-step") for step in await steps.all()]
    assert order == ["open", "heard", "broken", "said-meanwhile", "open-again", "heard"]
    before = (await steps.nth(1).inner_text()).split()[-1]
    await expect(steps.nth(5)).to_contain_text("sent during the disconnection")
    await open_tab(page, "The requests")
    await expect(part(page, "requests").locator("mark")).to_have_text(before)


@only("sse")
async def test_heartbeats_cross_the_network_and_the_page_does_not_see_them(chat: Chat) -> None:
    page = await lesson(chat, "Heartbeats")
    await expect(part(page, "beats").locator("path.comment")).not_to_have_count(1)  # the legend's
    await expect(part(page, "count")).to_contain_text(re.compile(r"On the wire: [1-9]"))


@only("fetch_streaming")
async def test_lines_chunks_and_reads_divide_the_same_bytes(chat: Chat) -> None:
    page = await lesson(chat, "Lines, chunks and reads")
    # A line for each message, after the empty one with which every stream starts.  A heartbeat is
    # one more.
    lines = page.locator(".strip.lines span")
    await part(page, "say").click()
    await expect(lines.nth(4)).to_be_visible()
    await part(page, "late").click()
    await expect(lines.nth(40)).to_be_visible()
    ends = set()
    for name in ("lines", "chunks", "pieces"):
        last = page.locator(f".strip.{name} span").last
        ends.add(figures(str(await last.get_attribute("title")))[1])
    assert len(ends) == 1, "the three do not end at the same byte"
    found = figures(await part(page, "summary").inner_text())
    assert found[3] >= 1, "no read ended within a line"


@only("fetch_streaming")
async def test_a_character_in_two_chunks_is_decoded_as_one(chat: Chat) -> None:
    page = await lesson(chat, "A character cut in two")
    await part(page, "word").fill("é你😀")
    for at in range(10):
        await part(page, "at").fill(str(at))
        apart, together = [await part(page, name).inner_text() for name in ("apart", "together")]
        assert ("\ufffd" in apart) == (at not in (0, 2, 5, 9))
        assert re.sub(r"[\[\]\s]", "", together) == "é你😀"


@only("fetch_streaming")
async def test_readers_who_joined_at_different_times_receive_the_same_compressed_chunk(
    chat: Chat,
) -> None:
    page = await lesson(chat, "Compression, once for all")
    await part(page, "compress").click()
    await expect(part(page, "compress-summary")).to_contain_text("Both readers of gzip received")
    gzip, zstd, late = [
        await rows.locator("td").all_inner_texts()
        for rows in await part(page, "compressed").locator("tr").all()
    ]
    assert gzip[1:] == late[1:]
    assert late[0] == "–"
    assert zstd[2].startswith("28 b5 2f fd")  # RFC 8878 §3.1.1: the magic number of a frame
    await part(page, "readers").fill("4")
    prices = await part(page, "prices").locator("td").all_inner_texts()
    assert prices == ["219", "14 µs", "0 MB", "96", "140,000 µs", "650 MB"]
