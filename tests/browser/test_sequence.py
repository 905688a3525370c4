"""The sequence diagram: what the tap told is drawn, in time, in words, and never too much of it."""

import base64
import json
import re
import uuid
from collections.abc import Iterable
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from benchmarks.clients import post
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

Piece = dict[str, Any]

# --- pieces, as a tap tells them ------------------------------------------------------------------


def piece(connection: int, direction: str, at: float, data: str | bytes) -> Piece:
    if isinstance(data, str):
        data = data.encode()
    return {
        "connection": connection,
        "transport": "sse",
        "direction": direction,
        "at": at,
        "data": base64.b64encode(data).decode(),
    }


def question(connection: int, at: float, what: str = "GET /rooms/r/sse") -> Piece:
    return piece(connection, "up", at, f"{what} HTTP/1.1\r\nHost: x\r\n\r\n")


def answer(connection: int, at: float, body: str, status: str = "200 OK") -> Piece:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
    return piece(connection, "down", at, head + body)


def stream(connection: int, at: float) -> Piece:
    head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return piece(connection, "down", at, head)


def chunk(connection: int, at: float, data: str) -> Piece:
    return piece(connection, "down", at, f"{len(data):x}\r\n{data}\r\n")


def event(connection: int, at: float) -> Piece:
    return chunk(connection, at, 'id: 1\ndata: {"kind":"say"}\n\n')


def closed(connection: int, at: float) -> Piece:
    return {"connection": connection, "at": at, "closed": True}


SWITCH = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
EMPTY = '{"cursor":"e-1","events":[]}'
NEWS = '{"cursor":"e-2","events":[{"kind":"say"}]}'

EMPTY_PAGE = """<!doctype html><html lang="en"><title>A diagram</title>
<link rel="icon" href="/demos/static/icon.svg">
<link rel="stylesheet" href="/demos/static/style.css">
<link rel="stylesheet" href="/demos/static/sequence.css">
<script src="/demos/static/theme.js"></script><main></main>"""
# Into it comes a diagram of its own that is fed by the test.
SET_UP = """async () => {
  const { showSequence } = await import("/demos/static/wire/sequence.js");
  const element = document.createElement("section");
  document.querySelector("main").replaceChildren(element);
  const listeners = [];
  window.began = Date.now();
  showSequence(element, { secret: "s", on: (listener) => listeners.push(listener) });
  window.tell = (pieces) => pieces.forEach((piece) => {
    if (piece.data !== undefined) {
      piece.bytes = Uint8Array.from(atob(piece.data), (c) => c.charCodeAt());
    }
    if (piece.at !== undefined) piece.at += window.began;
    listeners.forEach((listener) => listener(piece));
  });
}"""


async def diagram(server: Server, context: BrowserContext, language: str = "en") -> Page:
    page = await context.new_page()
    url = f"{server.url}/demos/empty.html?lang={language}"
    head = {"Content-Type": "text/html", "Content-Security-Policy": "default-src 'self'"}
    await page.route(url, lambda route: route.fulfill(body=EMPTY_PAGE, headers=head))
    await page.goto(url)
    await page.evaluate(SET_UP)
    return page


async def tell(page: Page, pieces: Iterable[Piece]) -> None:
    """Feed the diagram; `at` is in ms since it was made."""
    await page.evaluate(f"tell({json.dumps(list(pieces))})")


def arrows(page: Page, kind: str = "") -> Locator:
    return page.locator(f".sequence svg .arrow{kind}")


def labels(page: Page) -> Locator:
    return page.locator(".sequence svg .arrow > .label")


# --- what is drawn --------------------------------------------------------------------------------


async def test_a_stream_is_a_question_a_head_and_what_follows(
    server: Server, context: BrowserContext, complaints: list[str]
) -> None:
    page = await diagram(server, context)
    await tell(
        page,
        [
            *[question(7, 0), stream(7, 1), chunk(7, 2, "id: 1\n\n"), event(7, 3)],
            *[question(9, 50, "POST /rooms/r/messages"), answer(9, 51, "{}", "201 Created")],
            *[chunk(7, 900, ":\n\n"), piece(7, "down", 950, "0\r\n\r\n")],
        ],
    )
    await expect(labels(page)).to_have_text(
        [
            *["GET …/sse · 38 B", "200 · stays open · 47 B", "piece · 7 B", "1 event · 28 B"],
            *["POST …/messages · 44 B", "POST … 201 · 45 B", "heartbeat · 3 B"],
            "end of the answer",
        ]
    )
    # Two connections at once: each has its number, its lane and its bar.
    await expect(page.locator(".sequence svg text.badge")).to_have_text(["1", "2"])
    bars = page.locator(".sequence svg .bar")
    await expect(bars).to_have_count(2)
    assert await bars.nth(0).get_attribute("x") != await bars.nth(1).get_attribute("x")
    await expect(page.locator(".sequence .totals")).to_contain_text("events: 1 · POSTs: 1")
    assert complaints == []


async def test_an_event_is_whole_however_its_bytes_were_cut(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    data = base64.b64decode(event(7, 0)["data"])
    cut = [piece(7, "down", 5 + n, data[n : n + 1]) for n in range(len(data))]
    await tell(page, [question(7, 0), stream(7, 1), *cut])
    await expect(labels(page).last).to_have_text("1 event · 28 B")
    await expect(arrows(page)).to_have_count(3)


async def test_a_websocket_shows_each_frame_by_name(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    masked = bytes([0x81, 0x82, 1, 2, 3, 4, 5, 6])
    close = bytes([0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xE9 ^ 2])  # 0x03e9 is 1001
    await tell(
        page,
        [
            question(7, 0, "GET /rooms/r/websocket"),
            piece(7, "down", 1, SWITCH.encode() + b"\x81\x0e" + b'{"kind":"say"}'),
            piece(7, "up", 100, masked),
            piece(7, "down", 101, b"\x81\x0e" + b'{"kind":"ack"}'),
            piece(7, "down", 200, b"\x89\x00"),
            piece(7, "up", 300, b"\x8a\x80\x00\x00\x00\x00"),
            piece(7, "up", 400, close),
            closed(7, 401),
        ],
    )
    await expect(labels(page)).to_have_text(
        [
            *["GET …/websocket · 44 B", "101 · stays open · 56 B", "1 event · 16 B"],
            *["message · 8 B", "ack · 16 B", "ping · 2 B", "pong · 6 B", "close · 1001"],
            "connection 1 ended",
        ]
    )


async def test_a_long_poll_is_blind_between_an_answer_and_the_next_question(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    ask = "GET /rooms/r/long_polling?wait=25"
    await tell(page, [question(7, 0, ask), answer(7, 900, NEWS), question(7, 1103, ask)])
    gap = page.locator(".sequence svg .outage.blind text")
    await expect(gap).to_have_text("blind for 203 ms")
    # It has a row of its own: on a phone it would run into the next question.
    assert await overlap(gap, labels(page).nth(2)) < 2
    await expect(labels(page).nth(1)).to_contain_text("200 · 1 event · ")
    await expect(labels(page).nth(1)).to_contain_text("after 900 ms")
    # The second question is held: its bar goes on to the end of the picture.
    bars = page.locator(".sequence svg .bar.held")
    await expect(bars).to_have_count(2)


async def test_a_short_poll_that_learns_nothing_is_dashed_and_counted(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    await page.evaluate("document.body.dataset.transport = 'short_polling'")
    ask = "GET /rooms/r/short_polling"
    bodies = [EMPTY, NEWS, EMPTY]
    for n, body in enumerate(bodies):
        await tell(page, [question(7, n * 1000, ask), answer(7, n * 1000 + 1, body)])
    await expect(arrows(page, ".empty")).to_have_count(2)
    await expect(labels(page).nth(1)).to_contain_text("0 events · asked in vain")
    shaft = arrows(page, ".empty").first.locator(".shaft")
    await expect(shaft).not_to_have_css("stroke-dasharray", "none")
    await expect(page.locator(".sequence .totals")).to_contain_text("in vain: 2 of 3")
    await expect(page.locator(".sequence svg .outage")).to_have_count(0)


async def test_a_stream_that_breaks_is_a_cross_a_gap_and_another_connection(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    await tell(page, [question(7, 0), stream(7, 1), closed(7, 500), question(9, 1700)])
    await expect(arrows(page, ".disconnect").locator(".label")).to_have_text("connection 1 ended")
    await expect(page.locator(".sequence svg .outage.cut text")).to_have_text("cut off for 1.2 s")
    await expect(page.locator(".sequence svg text.badge")).to_have_text(["1", "2"])


async def test_bytes_that_came_too_fast_for_the_tap_are_told(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    await tell(page, [question(7, 0), stream(7, 1), {"dropped": 12_345}])
    await expect(labels(page).last).to_have_text("12.3 kB came too fast to be shown")


# --- time -----------------------------------------------------------------------------------------


async def test_a_long_silence_is_cut_short_and_a_burst_stretched(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    await tell(page, [question(7, 0), stream(7, 1), event(7, 2), event(7, 62_002)])
    await expect(page.locator(".sequence svg .idle text").first).to_have_text(
        "… 62 s of silence …"
    )
    times = page.locator(".sequence svg .time")
    await expect(times).to_have_text(["0.000", "0.001", "0.002", "62.002"])
    heights = [float(await one.get_attribute("y") or "") for one in await times.all()]
    row = heights[1] - heights[0]
    assert row > 16  # a label is readable
    assert heights[2] - heights[1] == pytest.approx(row, abs=0.2)
    assert row < heights[3] - heights[2] < 5 * row


async def test_arrows_are_level_until_a_round_trip_is_known(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    ask = question(7, 0, "GET /rooms/r/websocket")
    await tell(page, [ask, piece(7, "down", 1, SWITCH), piece(7, "down", 900, b"\x89\x00")])
    await expect(page.locator(".sequence .transit")).to_contain_text("not known yet")
    await expect(arrows(page)).to_have_count(3)
    assert await slope(arrows(page, ".ping")) == 0
    await tell(page, [piece(7, "up", 1100, b"\x8a\x80\x00\x00\x00\x00")])
    await expect(page.locator(".sequence .transit")).to_contain_text("200 ms")
    assert await slope(arrows(page, ".ping")) > 10  # it comes later than it left: lower
    assert await slope(arrows(page, ".pong")) < -10  # it left earlier: higher
    assert await slope(arrows(page, ".request")) < -10  # it left a moment ago, so by the same way


async def test_a_round_trip_is_what_the_browser_waited_without_what_the_server_took(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    measured = await page.evaluate(
        """async () => {
          const { Transit } = await import("/demos/static/wire/transit.js");
          const name = location.origin + "/rooms/r/long_polling?after=1";
          const exchange = {
            target: "/rooms/r/long_polling?after=1",
            began: 5000, ended: 5000, answered: 7000, done: 7001, fresh: false,
          };
          const near = {
            name, startTime: 10, requestStart: 20, responseStart: 2050, responseEnd: 2055,
          };
          const far = { name, startTime: 10, requestStart: 0, responseStart: 0, responseEnd: 2111 };
          const measure = (timing, exchanges) => {
            const transit = new Transit();
            transit.timed(timing);
            exchanges.forEach((exchange) => transit.exchanged(exchange));
            return transit.oneWay ?? null;
          };
          return [
            measure(near, [exchange]),
            measure(far, [exchange]),
            measure(far, [{ ...exchange, fresh: true }]),
            measure({ ...near, responseStart: 25 }, [exchange]),
            measure(near, [exchange, { ...exchange, answered: 5000 }]),
          ];
        }"""
    )
    # Our own port; another port; there with a handshake in it; of a request that broke off; once.
    assert measured == [15, 50, None, None, 15]


async def test_a_short_way_is_drawn_level_and_its_time_told(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    ask = question(7, 0, "GET /rooms/r/websocket")
    pong = piece(7, "up", 908, b"\x8a\x80\x00\x00\x00\x00")
    await tell(page, [ask, piece(7, "down", 1, SWITCH), piece(7, "down", 900, b"\x89\x00"), pong])
    await expect(page.locator(".sequence .transit")).to_contain_text("took 8 ms: too short")
    assert await slope(arrows(page, ".ping")) == 0
    assert await slope(arrows(page, ".pong")) == 0


async def slope(arrow: Locator) -> float:
    """By how many pixels the browser's end is lower than the server's."""
    path = await arrow.locator(".shaft").get_attribute("d") or ""
    _, left, _, right = map(float, re.findall(r"-?[\d.]+", path))
    return left - right


# --- never too much -------------------------------------------------------------------------------


async def test_two_hundred_events_a_second_are_one_arrow_a_second(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    burst = [event(7, 100 + 5 * n) for n in range(400)]
    lone = [question(9, 150, "POST /rooms/r/messages"), answer(9, 151, "{}", "201 Created")]
    await tell(page, [question(7, 0), stream(7, 1), *lone, *burst])
    await expect(arrows(page, ".many").locator(".label")).to_have_text(
        ["200 events, 5.6 kB in 995 ms"] * 2
    )
    await expect(arrows(page)).to_have_count(6)
    await expect(page.locator(".sequence .totals")).to_contain_text("events: 400")


async def test_only_the_latest_are_kept_and_what_is_looked_at_stays(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    await tell(page, [question(7, 0), stream(7, 1)])
    await tell(page, [event(7, 1000 + 200 * n) for n in range(140)])
    await expect(arrows(page)).to_have_count(142)
    box = page.locator(".sequence .box")
    # Who follows is at the end, who has scrolled up is not taken away.
    assert await box.evaluate("box => box.scrollHeight - box.scrollTop - box.clientHeight") < 2
    await box.evaluate("box => { box.scrollTop = box.scrollHeight / 2; }")
    middle = arrows(page).nth(70)
    title = await middle.locator("title").text_content() or ""
    before = await top_of(middle)
    await tell(page, [event(7, 30_000 + 200 * n) for n in range(60)])
    await expect(arrows(page)).to_have_count(150)
    same = arrows(page).filter(has=page.locator("title", has_text=title))
    assert await top_of(same) == pytest.approx(before, abs=3)


async def overlap(upper: Locator, lower: Locator) -> float:
    one, other = await upper.bounding_box(), await lower.bounding_box()
    assert one is not None
    assert other is not None
    return one["y"] + one["height"] - other["y"]


async def top_of(arrow: Locator) -> float:
    box = await arrow.bounding_box()
    assert box is not None
    return box["y"]


async def test_a_paused_diagram_stands_still_and_catches_up(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    await tell(page, [question(7, 0), stream(7, 1)])
    await expect(arrows(page)).to_have_count(2)
    await page.get_by_role("button", name="Pause").click()
    await tell(page, [event(7, 300)])
    await page.wait_for_timeout(500)  # five pictures, if it were not
    await expect(arrows(page)).to_have_count(2)
    await page.get_by_role("button", name="Go on").click()
    await expect(arrows(page)).to_have_count(3)
    await page.get_by_role("button", name="Clear").click()
    await expect(arrows(page)).to_have_count(0)
    await expect(page.locator(".sequence .nothing")).to_be_visible()
    # The stream is still open, and a new connection is not taken for it.
    await tell(page, [event(7, 600), question(9, 601, "POST /rooms/r/messages")])
    await expect(page.locator(".sequence svg .bar.stream")).to_have_count(1)
    await expect(page.locator(".sequence svg text.badge")).to_have_text(["2"])


async def test_a_hidden_page_draws_nothing_and_catches_up(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    await page.evaluate(
        "() => Object.defineProperty(document, 'hidden', { get: () => window.away === true })"
    )
    await tell(page, [question(7, 0)])
    await expect(arrows(page)).to_have_count(1)
    await page.evaluate("() => { window.away = true; }")
    await tell(page, [stream(7, 1), event(7, 2)])
    await page.wait_for_timeout(1500)
    assert await arrows(page).count() == 1
    await page.evaluate(
        "() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }"
    )
    await expect(arrows(page)).to_have_count(3)


# --- for everybody --------------------------------------------------------------------------------


async def test_arrows_can_be_asked_by_key_and_by_click_and_are_told_in_words(
    server: Server, context: BrowserContext
) -> None:
    page = await diagram(server, context)
    await tell(page, [question(7, 0, "GET /rooms/r/sse?after=e-1&trace=secret"), stream(7, 1)])
    await expect(arrows(page)).to_have_count(2)
    told = page.locator(".sequence .description")
    await page.locator(".sequence .box").focus()
    await page.keyboard.press("ArrowUp")
    await expect(told).to_contain_text("the head of the answer to GET /rooms/r/sse?after=e-1 left")
    await page.keyboard.press("ArrowUp")
    await expect(told).to_contain_text("GET /rooms/r/sse?after=e-1 had arrived on connection 1")
    await expect(arrows(page, ".chosen")).to_have_count(1)
    await arrows(page, ".stream").locator(".label").click()
    await expect(told).to_contain_text("the head of the answer")
    assert "secret" not in await page.locator(".sequence").inner_text()
    await page.get_by_text("The latest, as a list").click()
    await expect(page.locator(".sequence .latest li")).to_have_count(2)
    await tell(page, [event(7, 300)])
    await expect(page.locator(".sequence .latest li").last).to_contain_text("1 event left")


@pytest.mark.parametrize(
    ("language", "word"), [("en", "silence"), ("zh-Hans", "服务器"), ("zh-Hant", "伺服器")]
)
async def test_all_that_is_drawn_is_told_in_every_language(
    server: Server, context: BrowserContext, language: str, word: str
) -> None:
    page = await diagram(server, context, language)
    ask = "GET /rooms/r/long_polling"
    await tell(
        page,
        [
            *[question(5, 0, ask), answer(5, 1, EMPTY), question(5, 300, ask)],
            *[question(7, 400, "GET /rooms/r/websocket"), piece(7, "down", 401, SWITCH)],
            *[piece(7, "down", 402, b"\x81\x10" + b'{"kind":"error"}')],
            *[piece(7, "down", 410 + n, b"\x82\x00\x89\x00\x8a\x00") for n in range(15)],
            *[question(9, 500), stream(9, 501), chunk(9, 502, ":\n\n"), event(9, 9000)],
            *[question(11, 9010 + n, "POST /rooms/r/messages") for n in range(15)],
            *[closed(9, 9100), {"dropped": 1}],
        ],
    )
    await expect(arrows(page, ".disconnect")).to_have_count(1)
    await page.locator(".sequence summary").click()
    await expect(page.locator(".sequence .latest li").last).not_to_be_empty()
    said = await page.locator(".sequence").text_content() or ""
    assert word in said
    assert re.findall(r"sequence\.\w+|\{\w+\}|undefined|NaN", said) == []


# --- for real -------------------------------------------------------------------------------------

FIRST = {
    "short_polling": ["GET …/short_polling", "200 · "],
    "long_polling": ["GET …/long_polling", "200 · "],
    "iframe_streaming": ["GET …/iframe_streaming", "200 · stays open", "piece · 67 B"],
    "sse": ["GET …/sse", "200 · stays open"],
    "fetch_streaming": ["GET …/fetch_streaming", "200 · stays open"],
    "websocket": ["GET …/websocket", "101 · stays open"],
}


@pytest.mark.parametrize("transport", FIRST)
async def test_each_page_draws_what_it_does(
    server: Server, context: BrowserContext, complaints: list[str], transport: str
) -> None:
    room = uuid.uuid4().hex
    page = await context.new_page()
    await page.goto(
        f"{server.url}/demos/{transport}.html?room={room}&name=Ada&lang=en", wait_until="commit"
    )
    await expect(page.locator("#state")).to_have_attribute("data-state", "open")
    for n, words in enumerate(FIRST[transport]):
        await expect(labels(page).nth(n)).to_contain_text(words)
    await page.fill("#text", "hello")
    await page.press("#text", "Enter")
    up = "message" if transport == "websocket" else "POST …/messages"
    await expect(labels(page).filter(has_text=up)).to_have_count(1)
    done = "ack" if transport == "websocket" else "POST … 201"
    await expect(labels(page).filter(has_text=done)).to_have_count(1)
    await post(server.url, room, text="from elsewhere")
    # With our own coming and what we said: three, alone or together.
    await expect(page.locator(".sequence .totals")).to_contain_text("events: 3")
    assert complaints == []
