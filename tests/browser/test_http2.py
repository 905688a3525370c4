"""Over HTTP/1.1 a browser opens six connections to a host, one for each stream; HTTP/2 needs one.

Nginx speaks HTTP/2 over TLS, with the configuration that we print; the server behind it does not.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.conftest import Servers
from tests.nginx_fixture import Fleet
from tests.transports.readers import say_in

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

STREAMS = 10
# Connections that a browser opens to one host and port over HTTP/1.1.
MAX_CONNECTIONS = 6

OPEN = """([room, count]) => {
    window.received = 0
    window.streams = Array.from({length: count}, () => {
        const stream = new EventSource(`/rooms/${room}/sse?after=now`)
        stream.onmessage = () => window.received++
        return stream
    })
}"""
OPENED = "() => window.streams.filter((stream) => stream.readyState === 1).length"
PROTOCOL = "() => performance.getEntriesByType('navigation')[0].nextHopProtocol"


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page that accepts our self-signed certificate."""
    context = await browser.new_context(ignore_https_errors=True)
    yield await context.new_page()
    await context.close()


@pytest.fixture(scope="module")
def http2(servers: Servers) -> Iterator[Fleet]:
    file = servers.certificate
    with Fleet(servers.redis.url, count=2, tls=(file, file)) as fleet:
        yield fleet


async def until_open(page: Page, count: int) -> None:
    await page.wait_for_function(f"{OPENED[6:]} >= {count}")


async def test_over_http_1_the_seventh_stream_waits(
    servers: Servers, page: Page, room: str
) -> None:
    with Fleet(servers.redis.url, count=1) as fleet:
        await page.goto(f"{fleet.url}/healthz")
        assert await page.evaluate(PROTOCOL) == "http/1.1"
        await page.evaluate(OPEN, [room, STREAMS])
        await until_open(page, MAX_CONNECTIONS)
        await say_in(fleet.workers[0], room, "hello")
        await page.wait_for_function(f"window.received === {MAX_CONNECTIONS}")
        assert await page.evaluate(OPENED) == MAX_CONNECTIONS
        # It only waits for a free connection.
        await page.evaluate("window.streams[0].close()")
        await page.wait_for_function("window.streams[6].readyState === 1")


async def test_over_http_2_all_of_them_are_open_at_once(
    http2: Fleet, page: Page, room: str
) -> None:
    await page.goto(f"{http2.url}/healthz")
    assert await page.evaluate(PROTOCOL) == "h2"
    await page.evaluate(OPEN, [room, STREAMS])
    await until_open(page, STREAMS)
    await say_in(http2.workers[0], room, "hello")
    await page.wait_for_function(f"window.received === {STREAMS}")


async def test_over_http_2_a_websocket_and_a_post_of_the_same_origin_work(
    http2: Fleet, page: Page, room: str
) -> None:
    await page.goto(f"{http2.url}/healthz")
    receipt = await page.evaluate(
        """async (room) => {
            const socket = new WebSocket(`wss://${location.host}/rooms/${room}/websocket`)
            const first = new Promise((resolve) => (socket.onmessage = resolve))
            await new Promise((resolve) => (socket.onopen = resolve))
            const body = JSON.stringify({text: "hello"})
            const sent = await fetch(`/rooms/${room}/messages`, {method: "POST", body})
            return [sent.status, JSON.parse((await first).data).text]
        }""",
        room,
    )
    assert receipt == [201, "hello"]
