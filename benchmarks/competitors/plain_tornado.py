"""Tornado as it comes (tornado_chat.py): `write_message`, polls that wait, and others."""

import sys
from contextlib import ExitStack
from typing import ClassVar

from benchmarks.clients.http import Response, Server
from benchmarks.clients.protocols import Listener, Poll, WebSocketListener, read_json
from benchmarks.competitors.system import IDLE, System, own


class Tornado(System):
    @classmethod
    def missing(cls) -> str | None:
        return None

    def start(self, stack: ExitStack, redis: str) -> None:
        self.run(stack, [sys.executable, "-m", "benchmarks.competitors.tornado_chat"])


class TornadoWebSocket(Tornado):
    name = "tornado write_message"

    def listener(self, room: str) -> Listener:
        return WebSocketListener(self.readers, lambda cursor: f"/listen?room={room}")


class _Polled(Tornado):
    way: ClassVar[str]

    def listener(self, room: str) -> Listener:
        return _Poll(self.readers, f"{self.way}?room={room}")


class TornadoLongPolling(_Polled):
    name = "tornado long polling"
    way = "/wait"


class TornadoShortPolling(_Polled):
    name = "tornado short polling"
    way = "/read"
    loads = (IDLE,)


class _Poll(Poll):
    """Asks what came after what it has; the first time, where that is."""

    def __init__(self, server: Server, path: str) -> None:
        super().__init__(server)
        self._path = path
        self._after = ""

    def question(self) -> bytes:
        return self.get(self._path + self._after)

    def _answered(self, response: Response, when: float) -> bool:
        answer = read_json(response.check(200).body)
        self.hear(map(own, answer["messages"]), when)
        self._after = f"&after={answer['after']}"
        # A poll that waits is asked again at once; `interval` is 0 there.
        return False
