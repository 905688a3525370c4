"""Ours, by each of our ways."""

import sys
from contextlib import ExitStack
from typing import ClassVar

from benchmarks.clients.protocols import Listener, listener
from benchmarks.competitors.system import IDLE, SMALL, System
from benchmarks.load.generator import Words, our_words


class Ours(System):
    transport: ClassVar[str]

    @classmethod
    def missing(cls) -> str | None:
        return None

    def start(self, stack: ExitStack, redis: str) -> None:
        command = [sys.executable, "-m", "realtime", "--port", "0", "--hub", redis]
        limits = ["--messages-per-second", "0", "--connections-per-address", "20000"]
        self.run(stack, command + limits)

    def listener(self, room: str) -> Listener:
        return listener(self.transport, self.readers, room)

    def words(self, room: str, size: int) -> Words:
        return our_words(self.url, room, size)


class OurWebSocket(Ours):
    name = "realtime websocket"
    transport = "websocket"
    loads = (*System.loads, SMALL)


class OurEventSource(Ours):
    name = "realtime sse"
    transport = "sse"


class OurFetchStreaming(Ours):
    name = "realtime fetch_streaming"
    transport = "fetch_streaming"


class OurIframeStreaming(Ours):
    name = "realtime iframe_streaming"
    transport = "iframe_streaming"


class OurLongPolling(Ours):
    name = "realtime long_polling"
    transport = "long_polling"


class OurShortPolling(Ours):
    name = "realtime short_polling"
    transport = "short_polling"
    loads = (IDLE,)
