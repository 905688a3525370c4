"""Over HTTP/1.1 a browser opens six connections to a host, one for each stream; HTTP/2 needs one.

nginx and haproxy speak HTTP/2 over TLS, with the configurations that we print; the server behind
them does not.  haproxy also carries WebSockets in that connection (RFC 8441).
"""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from realtime.client import post
from realtime.netem.proxy import Proxy
from tests.browser.chat_page import TCP_TRANSPORTS
from tests.browser.conftest import FLAGS, chromium
from tests.browser.engines import firefox
from tests.conftest import Servers
from tests.haproxy_fixture import HAProxy
from tests.nginx_fixture import Fleet, Nginx
from tests.proxy_fixture import Edit, ReverseProxy
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
# Resolves when so many WebSockets have received an event.
OPEN_WEBSOCKETS = """([room, count]) => Promise.all(Array.from({length: count}, () =>
    new Promise((resolve, reject) => {
        const socket = new WebSocket(`wss://${location.host}/rooms/${room}/websocket`)
        socket.onmessage = resolve
        socket.onclose = reject
    })
)).then((events) => events.length)"""
PROTOCOL = "() => performance.getEntriesByType('navigation')[0].nextHopProtocol"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A browser that accepts our self-signed certificate.

    With `ignore_https_errors` of a context it would close each connection once, and open another.
    """
    flags = [*FLAGS, "--ignore-certificate-errors"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=flags)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    page = await browser.new_page()
    yield page
    await page.context.close()


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


# --- WebSockets in the same connection (RFC 8441) ------------------------------------------------

WEBSOCKETS = 12
WITHOUT = "h2-workaround-bogus-websocket-clients"


def in_front_of(
    http2: Fleet, servers: Servers, kind: type[ReverseProxy], edit: Edit = str
) -> ReverseProxy:
    """Another proxy in front of the same workers."""
    file = servers.certificate
    tls = file if kind is HAProxy else (file, file)
    workers = [f"127.0.0.1:{worker.port}" for worker in http2.workers]
    return kind(workers, tls=tls, routing="session", edit=edit)


@pytest.mark.parametrize(
    ("kind", "edit"),
    [(Nginx, str), (HAProxy, lambda text: text.replace(f"#     {WITHOUT}", f"    {WITHOUT}"))],
    ids=["nginx", "haproxy that does not announce it"],
)
async def test_without_rfc_8441_each_websocket_has_a_connection(
    http2: Fleet,
    servers: Servers,
    page: Page,
    room: str,
    kind: type[ReverseProxy],
    edit: Edit,
) -> None:
    await post(http2.workers[0].url, room, text="hello")
    with in_front_of(http2, servers, kind, edit) as proxy:
        async with Proxy("127.0.0.1", proxy.port) as relay:
            await page.goto(f"https://127.0.0.1:{relay.port}/healthz")
            assert await page.evaluate(PROTOCOL) == "h2"
            before = relay.connections
            assert await page.evaluate(OPEN_WEBSOCKETS, [room, WEBSOCKETS]) == WEBSOCKETS
            assert relay.connections == before + WEBSOCKETS
            await page.goto("about:blank")


async def test_a_page_its_transports_and_twelve_websockets_share_one_connection(
    http2: Fleet, servers: Servers, page: Page, room: str
) -> None:
    with in_front_of(http2, servers, HAProxy) as haproxy:
        # The browser connects to a relay, which counts its connections.
        async with Proxy("127.0.0.1", haproxy.port) as relay:
            await page.goto(f"https://127.0.0.1:{relay.port}/demos/lab.html?room={room}")
            for transport in TCP_TRANSPORTS:  # haproxy does not forward UDP
                pane = page.locator(f'.pane[data-transport="{transport}"]')
                await expect(pane.locator(".state")).to_have_attribute("data-state", "open")
            await expect(page.locator("#connections")).to_contain_text("came over HTTP/2")
            await page.fill("#text", "hello")
            await page.press("#text", "Enter")
            for transport in TCP_TRANSPORTS:
                pane = page.locator(f'.pane[data-transport="{transport}"]')
                await expect(pane.locator(".said")).to_contain_text("hello")
            await page.click("#starve")
            await expect(page.locator("#starving")).to_contain_text("It did not wait")
            await page.click("#sockets")
            await expect(page.locator("#sockets-open")).to_contain_text("12 of 12 are open")
            assert await page.evaluate(OPEN_WEBSOCKETS, [room, WEBSOCKETS]) == WEBSOCKETS
            assert relay.connections == 1
            await page.click("#sockets")
            await expect(page.locator("#sockets")).to_have_text("Open twelve WebSockets")
            await page.goto("about:blank")


async def test_firefox_shares_one_connection_as_well(
    http2: Fleet, servers: Servers, room: str
) -> None:
    await post(http2.workers[0].url, room, text="hello")
    with in_front_of(http2, servers, HAProxy) as haproxy:
        async with (
            Proxy("127.0.0.1", haproxy.port) as relay,
            firefox(ignore_https_errors=True) as engine,
        ):
            await engine.open(f"https://127.0.0.1:{relay.port}/healthz")
            assert await engine.run(OPEN_WEBSOCKETS, [room, WEBSOCKETS]) == WEBSOCKETS
            assert relay.connections == 1
            await engine.open("about:blank")
