"""Tornado as its documentation uses it (tornado_chat.py): `write_message`, long and short polls."""

import sys
from contextlib import ExitStack
from typing import ClassVar

from benchmarks.competitors.system import IDLE, System
from realtime.client.http import Endpoint, Response
from realtime.client.protocols import cached_loads
from realtime.client.sansio import ClientProtocol, PollProtocol, Update, with_cursor
from realtime.client.websocket import WebSocketProtocol


class PlainTornado(System):
    @classmethod
    def missing(cls) -> str | None:
        return None

    def start(self, stack: ExitStack, redis: str) -> None:
        self.run(stack, [sys.executable, "-m", "benchmarks.competitors.tornado_chat"])


class TornadoWebSocket(PlainTornado):
    name = "tornado write_message"

    def protocol(self, room: str) -> ClientProtocol:
        path = f"/listen?room={room}"
        return WebSocketProtocol(self.reader_endpoint, lambda cursor: path, loads=cached_loads)


class _Polled(PlainTornado):
    path: ClassVar[str]

    def protocol(self, room: str) -> ClientProtocol:
        return _PollProtocol(self.reader_endpoint, f"{self.path}?room={room}")


class TornadoLongPolling(_Polled):
    name = "tornado long polling"
    path = "/wait"


class TornadoShortPolling(_Polled):
    name = "tornado short polling"
    path = "/read"
    loads = (IDLE,)


class _PollProtocol(PollProtocol):
    """Requests the messages after those it has; the first request finds how many there are."""

    def __init__(self, endpoint: Endpoint, path: str) -> None:
        super().__init__(endpoint)
        self._path = path
        self._after = ""

    def request(self) -> bytes:
        return self.get(self._path + self._after)

    def parse_response(self, response: Response) -> tuple[list[Update], bool]:
        answer = cached_loads(response.check(200).body)
        self._after = f"&after={answer['after']}"
        # The next long poll follows at once because its `interval` is 0.
        return [with_cursor(event) for event in answer["messages"]], False
