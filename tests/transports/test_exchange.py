"""An exchange answers whatever happens, over a stream that is a list."""

import json
import logging
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders

from realtime.core.rate_limit import RateLimiter
from realtime.errors import Busy
from realtime.limits import Limits
from realtime.protocol.http1 import Request
from realtime.protocol.origin import OriginPolicy
from realtime.transports.base import Services
from realtime.transports.exchange import Exchange
from tests.transports.test_streaming import ListStream


class Stream(ListStream):
    address = "here"
    crowded = False

    def __init__(self) -> None:
        super().__init__()
        self.course: list[str] = []

    def carry(self, transport: str, client: str | None) -> None:
        self.course.append(f"carry {transport} {client}")

    def rest(self) -> None:
        self.course.append("rest")

    def closed(self) -> bool:
        return False


class Open:
    closing = False


class Failing(Exchange):
    transport = "failing"

    async def get(self, room: str) -> None:
        raise {"lobby": ZeroDivisionError, "full": lambda: Busy("No.", retry_after=1.5)}[room]()


async def run(room: str, *, hub: Any = Open) -> tuple[Stream, Exchange]:
    limits, stream = Limits(), Stream()
    services = Services(hub, None, OriginPolicy(["localhost"]), RateLimiter(0, 1), limits)  # type: ignore[arg-type]
    asked = Request("GET", "/?client=me", "HTTP/1.1", HTTPHeaders(), ("localhost", None, None))
    exchange = Failing(services, stream, asked, room, lambda call: None)
    await exchange.run()
    return stream, exchange


async def test_a_mistake_of_ours_is_logged_and_told_without_its_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        stream, _ = await run("lobby")
    head, _, body = stream.taken[0].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert json.loads(body)["error"]["code"] == "internal"
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_an_error_is_told_with_its_fields() -> None:
    stream, exchange = await run("full")
    head, _, body = stream.taken[0].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 2" in head
    assert json.loads(body)["error"] == {"code": "busy", "message": "No."}
    assert exchange.keep_alive


async def test_it_is_counted_once_and_rests() -> None:
    stream, _ = await run("full")
    assert stream.course == ["carry failing me", "rest"]


async def test_while_the_server_drains_an_answer_is_the_last() -> None:
    class Closing:
        closing = True

    stream, exchange = await run("full", hub=Closing)
    assert b"\r\nConnection: close\r\n" in stream.taken[0]
    assert not exchange.keep_alive
