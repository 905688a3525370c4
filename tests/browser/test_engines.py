"""Firefox and WebKit: the pages and the transports in the engines that other tests do not use."""

import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from realtime.client import get_json, post
from realtime.netem.proxy import Proxy
from tests.browser import engines
from tests.browser.chat_page import TCP_TRANSPORTS, TRANSPORTS
from tests.browser.engines import Engine, wait_until
from tests.capture_files import all_cases, single_file
from tests.server_process import ROOT, Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# No heartbeat comes to help: what opens, opens by its first bytes.
OPTIONS = (
    *("--hub", "memory", "--heartbeat-seconds", "300"),
    *("--messages-per-second", "0", "--lanes", "2"),
)

# frame.html is no page: it relays a stream to another one.
OTHER_PAGES = sorted(
    page.name for page in (ROOT / "demos").glob("*.html") if page.stem not in [*TRANSPORTS, "frame"]
)
# It has scripts of ours and no connections: a place for connections that a test makes.
QUIET_PAGE = "demos/sticky.html"

# What a page shows when its scripts have run, and its connections are open.
IS_READY = """() => {
  const [footer, panes] = ["hub", "panes"].map((id) => document.getElementById(id));
  const states = [...document.querySelectorAll("[data-state]")].map(({ dataset }) => dataset.state);
  return (!footer || footer.textContent !== "") && (!panes || panes.hasChildNodes())
    && !states.some((state) => ["connecting", "waiting", "refused"].includes(state));
}"""
IS_OPEN = """() => document.getElementById("state")?.dataset.state === "open" """
SEND = """(text) => {
  document.getElementById("text").value = text;
  document.getElementById("say").requestSubmit();
}"""
# A class in one tab: the lecturer's window, and in frames the projector and a phone.
KEY = "sesame"
PLAN = {"steps": [{"minutes": 1, "title": "All join", "show": "class"}]}
OPEN_CLASS = """(room) => {
  window.frameOf = {};
  for (const page of ["projector", "class"]) {
    const frame = document.createElement("iframe");
    frame.src = new URL(`${page}.html?${new URLSearchParams({ room, name: "Ada" })}`, location);
    Object.assign(frame.style, { width: "1280px", height: "720px" });
    document.body.append(frame);
    window.frameOf[page] = frame;
  }
  window.part = (page, selector) => {
    const { contentDocument } = window.frameOf[page] ?? { contentDocument: document };
    return contentDocument?.querySelector(selector);
  };
}"""
CLICK = "([page, selector]) => window.part(page, selector).click()"
PART_EXISTS = "(selector) => Boolean(document.querySelector(selector))"
PART_SHOWS = """([page, selector, text]) =>
  window.part(page, selector)?.checkVisibility()
    && window.part(page, selector).textContent.includes(text)"""
# A line of the room, not one that waits to be sent.
SHOWS = """(text) => [...document.querySelectorAll("#messages li:not([data-state])")]
  .some((line) => line.textContent.includes(text))"""

# Readers without a name are no members, so a room of readers alone stays empty.
CONNECT = """async ({ room, after, transports, base, encodings }) => {
  window.readers = {};
  for (const transport of transports) {
    const { connect } = await import(new URL(`static/transports/${transport}.js`, location));
    const reader = { states: [], texts: [], repeats: 0 };
    window.readers[transport] = reader;
    reader.connection = connect(room, {
      after, base, encoding: encodings?.[transport],
      setting: (name) => ({ interval: 0.2, pad: 0 })[name],
      onEvent: ({ kind, text }) => reader.texts.push(text ?? kind),
      onRepeat: () => { reader.repeats += 1; },
      onState: (state) => reader.states.push(state),
    });
  }
}"""
ALL_OPEN = """() => Object.values(window.readers).every(({ states }) => states.at(-1) === "open")"""
SEND_OVER_EACH = """(ids) => Promise.all(Object.entries(window.readers).map(
  ([via, { connection }], i) => connection.send({ id: ids[i], client: via, text: via, via })))"""
ALL_HAVE = (
    """(count) => Object.values(window.readers).every(({ texts }) => texts.length >= count)"""
)
# The browser fires "online" when the network is back.  A frame whose stream broke needs that to
# notice it: no other event says so, and missing heartbeats are noticed only after half a minute.
TWO_ATTEMPTS_FAILED = """() => {
  const readers = Object.values(window.readers);
  if (!window.statesBefore) {
    window.statesBefore = readers.map(({ states }) => states.length);
    dispatchEvent(new Event("online"));
  }
  return readers.every(({ states }, i) =>
    states.slice(window.statesBefore[i]).filter((state) => state === "waiting").length >= 2);
}"""
READ = """() => Object.fromEntries(Object.entries(window.readers).map(
  ([transport, { texts, repeats }]) => [transport, [texts, repeats]]))"""
IDS = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(len(TCP_TRANSPORTS))]


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["firefox", "webkit"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """One for all tests of a module: it takes longer to start than most of them need."""
    async with getattr(engines, request.param)() as engine:
        yield engine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    plan = tmp_path_factory.mktemp("plan") / "plan.json"
    plan.write_text(json.dumps(PLAN))
    with Server(*OPTIONS, "--key", KEY, "--plan", str(plan)) as server:
        yield server


async def test_every_page_opens(engine: Engine, server: Server, room: str) -> None:
    for page in ["", *(f"demos/{name}" for name in OTHER_PAGES)]:
        await engine.open(f"{server.url}/{page}?room={room}")
        await wait_until(engine, IS_READY)
        assert await engine.errors() == [], page


async def test_a_capture_in_one_file_opens_without_a_server(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "lesson.html"
    file.write_text(single_file(all_cases()))
    await engine.open(f"{file.as_uri()}?lang=zh-Hant")
    await wait_until(engine, PART_EXISTS, "#sequence .arrow")
    await wait_until(engine, PART_EXISTS, "#wire .wire-list .wire-part")
    assert await engine.run("() => document.querySelector('h1').textContent") == "擷取檔"
    assert await engine.errors() == []


async def test_every_page_of_a_transport_sends_and_receives(
    engine: Engine, server: Server, room: str
) -> None:
    for transport in TCP_TRANSPORTS:
        await engine.open(f"{server.url}/demos/{transport}.html?room={room}")
        await wait_until(engine, IS_OPEN)
        await post(server.url, room, text=f"down {transport}")
        await wait_until(engine, SHOWS, f"down {transport}")
        await engine.run(SEND, f"up {transport}")
        await wait_until(engine, SHOWS, f"up {transport}")
        assert await engine.errors() == [], transport
    said = [(event["text"], event["via"]) for event in await log(server, room) if "text" in event]
    assert [pair for pair in said if pair[0].startswith("up")] == [
        (f"up {transport}", transport) for transport in TCP_TRANSPORTS
    ]


async def test_webtransport_works_or_the_page_says_why_not(
    engine: Engine, server: Server, room: str
) -> None:
    await engine.open(f"{server.url}/demos/webtransport.html?room={room}&lang=en")
    if isinstance(engine, engines.Firefox):
        await wait_until(engine, IS_OPEN)
        await post(server.url, room, text="down")
        await wait_until(engine, SHOWS, "down")
        await engine.run(SEND, "up")
        await wait_until(engine, SHOWS, "up")
        assert (await log(server, room))[-1]["via"] == "webtransport"
    else:
        await wait_until(engine, PART_EXISTS, ".notice")
        why = "This browser has no WebTransport"
        assert why in await engine.run("() => document.querySelector('.notice').textContent")
    assert await engine.errors() == []


async def test_a_class_votes_and_is_measured(engine: Engine, server: Server, room: str) -> None:
    await engine.open(f"{server.url}/demos/lecturer.html?room={room}&lang=en#key={KEY}")
    await wait_until(engine, PART_EXISTS, "#steps tr")
    await engine.run(OPEN_CLASS, room)
    await engine.run(CLICK, ["lecturer", "#next"])
    row = "#figures tr[data-via=short_polling]"
    await wait_until(engine, PART_SHOWS, ["projector", f"{row} .phones", "1"])
    await engine.run(CLICK, ["lecturer", "#ask-class"])
    await wait_until(engine, PART_SHOWS, ["class", "#vote-choices", " "])
    await engine.run(CLICK, ["class", "#vote-choices input[value=b]"])
    await wait_until(engine, PART_SHOWS, ["projector", "#voters", "1 of 1"])
    await engine.run(CLICK, ["lecturer", "#next"])
    await wait_until(engine, PART_SHOWS, ["projector", "#choices [data-choice=b] .count", "1"])
    await engine.run(CLICK, ["lecturer", "#run-messages"])
    await wait_until(engine, PART_SHOWS, ["class", "#messages", "Experiment (lecturer)"])
    await wait_until(engine, PART_SHOWS, ["projector", f"{row} .received", " of 50"])
    assert await engine.errors() == []


async def test_compressed_readers_receive(engine: Engine, server: Server, room: str) -> None:
    start = (await get_json(server.url, f"/rooms/{room}/short_polling"))["cursor"]
    await engine.open(f"{server.url}/{QUIET_PAGE}")
    encodings = dict.fromkeys(TCP_TRANSPORTS[:5], "gzip") | {"websocket": "deflate"}
    transports = [*encodings]
    reader = {"room": room, "after": start, "transports": transports, "encodings": encodings}
    await engine.run(CONNECT, reader)
    await wait_until(engine, ALL_OPEN)
    await engine.run(SEND_OVER_EACH, IDS)
    await wait_until(engine, ALL_HAVE, len(transports))
    texts = [event["text"] for event in await log(server, room)]
    assert await engine.run(READ) == {one: [texts, 0] for one in transports}


async def test_every_transport_recovers(engine: Engine, server: Server, room: str) -> None:
    start = (await get_json(server.url, f"/rooms/{room}/short_polling"))["cursor"]
    # A second socket holds the port, or the system could give it to another program meanwhile.
    listener = socket.create_server(("127.0.0.1", 0), reuse_port=True)
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(listener.getsockname())
    async with Proxy("127.0.0.1", server.port, listeners=[listener]) as relay:
        await engine.open(f"{relay.url}{QUIET_PAGE}")
        await engine.run(CONNECT, {"room": room, "after": start, "transports": TCP_TRANSPORTS})
        # Also those that have nothing to receive yet.
        await wait_until(engine, ALL_OPEN)
        await engine.run(SEND_OVER_EACH, IDS)
        await wait_until(engine, ALL_HAVE, len(TCP_TRANSPORTS))
    # Now nobody listens at the port.
    for number in range(3):
        await post(server.url, room, text=f"meanwhile {number}")
    await wait_until(engine, TWO_ATTEMPTS_FAILED)
    held.listen()
    async with Proxy("127.0.0.1", server.port, listeners=[held]):
        await wait_until(engine, ALL_OPEN)
        await post(server.url, room, text="after")
        await wait_until(engine, ALL_HAVE, len(TCP_TRANSPORTS) + 4)
        texts = [event["text"] for event in await log(server, room)]
        assert sorted(texts[:-4]) == sorted(TCP_TRANSPORTS)
        assert await engine.run(READ) == {one: [texts, 0] for one in TCP_TRANSPORTS}


async def test_a_stopped_server_is_noticed(engine: Engine, room: str) -> None:
    """A frame that was refused fires no event; one at another port is in a page that relays it."""
    with Server(*OPTIONS) as server:
        port = (await get_json(server.url, "/lab"))["lanes"][1]
        reader = {"room": room, "after": "now", "transports": ["iframe_streaming"]}
        await engine.open(f"{server.url}/{QUIET_PAGE}")
        await engine.run(CONNECT, {**reader, "base": f"http://127.0.0.1:{port}/"})
        await wait_until(engine, ALL_OPEN)
        server.kill()
        await wait_until(engine, TWO_ATTEMPTS_FAILED)


async def log(server: Server, room: str) -> list[dict[str, Any]]:
    return list((await get_json(server.url, f"/rooms/{room}/short_polling"))["events"])
