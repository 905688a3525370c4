"""An exchange always sends a response; here over a stream that is a list."""

import json
import logging
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders

from realtime.core.admission import Admission
from realtime.errors import Busy
from realtime.limits import Limits
from realtime.protocol.http1 import Request
from realtime.protocol.origin import OriginPolicy
from realtime.transports.base import Services
from realtime.transports.exchange import Exchange
from tests.transports.test_streaming import ListStream


class Stream(ListStream):
    address = "here"
    over_limit = False

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def begin_request(self, transport: str, client: str | None) -> None:
        self.calls.append(f"begin {transport} {client}")

    def end_request(self) -> None:
        self.calls.append("end")

    def closed(self) -> bool:
        return False


class OpenHub:
    closing = False


class Failing(Exchange):
    transport = "failing"

    async def get(self, room: str) -> None:
        raise {"lobby": ZeroDivisionError, "full": lambda: Busy("No.", retry_after=1.5)}[room]()


async def run(room: str, *, hub: Any = OpenHub) -> tuple[Stream, Exchange]:
    limits, stream = Limits(), Stream()
    services = Services(hub, None, OriginPolicy(["localhost"]), Admission(limits), limits)  # type: ignore[arg-type]
    request = Request("GET", "/?client=me", "HTTP/1.1", HTTPHeaders(), ("localhost", None, None))
    exchange = Failing(services, stream, request, room)
    await exchange.run()
    return stream, exchange


async def test_a_failure_of_the_server_is_logged_and_sent_without_its_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        stream, _ = await run("lobby")
    head, _, body = stream.pushed[0].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert json.loads(body)["error"]["code"] == "internal"
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_an_error_response_has_the_headers_of_the_error() -> None:
    stream, exchange = await run("full")
    head, _, body = stream.pushed[0].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 2" in head
    assert json.loads(body)["error"] == {"code": "busy", "message": "No."}
    assert exchange.keep_alive


async def test_a_request_is_counted_once_and_ended() -> None:
    stream, _ = await run("full")
    assert stream.calls == ["begin failing me", "end"]


async def test_while_the_server_drains_a_response_ends_its_connection() -> None:
    class DrainingHub:
        closing = True

    stream, exchange = await run("full", hub=DrainingHub)
    assert b"\r\nConnection: close\r\n" in stream.pushed[0]
    assert not exchange.keep_alive
