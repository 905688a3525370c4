"""Our own server, by each of its transports that is compared."""

import sys
from contextlib import ExitStack
from typing import ClassVar

from benchmarks.competitors.system import IDLE, SMALL, System
from benchmarks.load.generator import RequestSpec, post_message
from realtime.client.protocols import make_protocol
from realtime.client.sansio import ClientProtocol


class Ours(System):
    transport: ClassVar[str]
    encoding: ClassVar[str | None] = None
    small_path = "/rooms/lobby/short_polling?after=now"

    @classmethod
    def missing(cls) -> str | None:
        return None

    def start(self, stack: ExitStack, redis: str) -> None:
        command = [sys.executable, "-m", "realtime", "--port", "0", "--hub", redis]
        limits = ["--messages-per-second", "0", "--connections-per-address", "20000"]
        limits += ["--address-share", "1000000"]
        tls = ["--tls-certificate", str(self.certificate)] if self.certificate else []
        self.run(stack, command + limits + tls)

    def protocol(self, room: str) -> ClientProtocol:
        return make_protocol(self.transport, self.reader_endpoint, room, encoding=self.encoding)

    def request_spec(self, room: str, size: int) -> RequestSpec:
        return post_message(self.url, room, size)


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
