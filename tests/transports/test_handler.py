"""An error has the same status, headers and body, whichever part of the server sends it."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application

from realtime import errors
from realtime.errors import RealtimeError, error_response
from realtime.limits import Limits
from realtime.protocol.origin import OriginPolicy
from realtime.server import server as tcp
from realtime.server.connection import Router
from realtime.server.traffic import TrafficStats
from realtime.transports.base import Services
from realtime.transports.exchange import Exchange
from realtime.transports.handler import Handler, JSONErrorHandler
from tests.cases import each

ERRORS = [
    errors.BadCursor("That is no cursor."),
    errors.BadMethod("Send a GET."),
    errors.UpgradeRequired("Connect with WebSocket here."),
    errors.TooFast("Wait.", retry_after=0.004),
    errors.Busy("Try again.", retry_after=1.5),
    errors.Internal(),
]
# The headers that belong to the error.  Each sender adds those that belong to its connection.
OF_THE_ERROR = {"content-type", "retry-after", "allow", "upgrade", "sec-websocket-version"}


def failing(error: RealtimeError) -> tuple[Router, Application]:
    """A server in which everything raises `error`, and one without any services."""

    class FailingExchange(Exchange):
        transport = "failing"

        async def get(self, room: str) -> None:
            raise error

    class FailingHandler(Handler):
        transport = "failing"

        def get(self) -> None:
            raise error

    class FailingStatus(JSONErrorHandler):
        def get(self) -> None:
            raise error

    policy: Any = OriginPolicy(["localhost"])
    hub: Any = SimpleNamespace(closing=False)
    services = Services(hub, None, policy, None, Limits())  # type: ignore[arg-type]
    application = Application([("/", FailingHandler, {"services": services})])
    router = Router(services, {"failing": FailingExchange}, application)
    return router, Application([("/", FailingStatus)])


@pytest.fixture(params=ERRORS, ids=lambda error: str(error.code))
def error(request: pytest.FixtureRequest) -> RealtimeError:
    found: RealtimeError = request.param
    return found


@pytest.fixture
async def ports(error: RealtimeError) -> AsyncIterator[tuple[int, int]]:
    """The ports of the server and of the application without services."""
    router, status = failing(error)
    server = tcp.Server(router, traffic=TrafficStats(), limits=Limits())
    plain = HTTPServer(status)
    sockets = [bind_sockets(0, "127.0.0.1") for _ in range(2)]
    server.add_sockets(sockets[0])
    plain.add_sockets(sockets[1])
    yield sockets[0][0].getsockname()[1], sockets[1][0].getsockname()[1]
    await server.close()
    plain.stop()
    await plain.close_all_connections()


async def fetch(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    writer.write(request.encode())
    async with asyncio.timeout(10):
        data = await reader.read()
    writer.close()
    await writer.wait_closed()
    return data


class ListSocket:
    """The stream of a rejected connection: keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.socket = self

    async def write(self, data: bytes) -> None:
        self.written += data

    def shutdown(self, how: int) -> None:
        raise StreamClosedError  # there is no client to wait for

    def closed(self) -> bool:
        return False

    def close(self) -> None: ...


def parts(data: bytes) -> tuple[int, dict[str, str], bytes]:
    """The status, the headers of the error, and the body."""
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (f.partition(": ") for f in fields)}
    kept = {name: value for name, value in headers.items() if name in OF_THE_ERROR}
    return int(line.split()[1]), kept, body


async def test_an_error_response_is_the_same_from_every_sender(
    error: RealtimeError, ports: tuple[int, int]
) -> None:
    rejected: Any = ListSocket()
    await tcp.send_last_response(rejected, error)
    expected = error_response(error, ["GET", "HEAD"])
    headers = {name.lower(): value for name, value in expected.headers}
    found = {
        "exchange": parts(await fetch(ports[0], "/rooms/lobby/failing")),
        "handler": parts(await fetch(ports[0], "/")),
        "handler without services": parts(await fetch(ports[1], "/")),
        "rejected connection": parts(rejected.written),
    }
    if error.code == "bad_method":  # only the others have an address with methods
        found["rejected connection"][1]["allow"] = "GET, HEAD"
    assert found == dict.fromkeys(found, (expected.status, headers, expected.body))


@each(("seconds", "header"), [(0.0, "1"), (0.4, "1"), (1.5, "2"), (10, "10")])
def test_retry_after_is_rounded_up_to_at_least_one_second(seconds: float, header: str) -> None:
    response = error_response(errors.Busy("Try again.", retry_after=seconds))
    assert dict(response.headers)["Retry-After"] == header


def test_the_log_of_our_failure_has_no_url(caplog: pytest.LogCaptureFixture) -> None:
    """A URL can contain a ticket; Tornado would log it."""
    request: Any = SimpleNamespace(uri="/rooms?ticket=abc", path="/rooms", headers={})
    handler = JSONErrorHandler.__new__(JSONErrorHandler)
    handler.request = request
    error = ZeroDivisionError("ours")
    handler.log_exception(ZeroDivisionError, error, None)
    (record,) = caplog.records
    assert (record.message, record.exc_info[1]) == ("a request failed", error)  # type: ignore[index]
    assert "abc" not in caplog.text
