"""The same systems with and without compression, by the names in the report.

All of them carry the same JSON, and the same words.
"""

import json
import random
from typing import Any

from benchmarks.competitors.nchan import NchanWebSocket
from benchmarks.competitors.ours import OurEventSource, Ours, OurWebSocket
from benchmarks.competitors.plain_tornado import TornadoWebSocket
from benchmarks.competitors.system import System
from benchmarks.load.generator import RequestSpec
from benchmarks.method.testbed import TestbedError
from realtime.client.http import Endpoint, Response, encode, messages_path
from realtime.client.protocols import cached_loads
from realtime.client.sansio import ClientProtocol
from realtime.client.websocket import WebSocketProtocol

_COMMON_WORDS = """
    a about after again all and any are as at because been before but by can client come could
    day does each event first for from get go good has have how if in into is it just know last
    like long look made make many message more most much new no not now of on one only or other
    our out over people question room same say see server should so some than that the their
    them then there these they think this time to two up use wait was way we well were what when
    where which who why will with work would year you your
"""


class GzipEventSource(OurEventSource):
    name = "realtime sse gzip"
    encoding = "gzip"


class ZstdEventSource(OurEventSource):
    name = "realtime sse zstd"
    encoding = "zstd"


class DeflatedWebSocket(OurWebSocket):
    name = "realtime websocket deflate"
    encoding = "deflate"


class DeflatedNchan(NchanWebSocket):
    """nchan compresses a message when it is published, once."""

    name = "nchan websocket deflate"
    publish_path = "/say_deflated"

    def protocol(self, room: str) -> ClientProtocol:
        return _compressed(self, self.address(room))


class DeflatedTornado(TornadoWebSocket):
    """`get_compression_options`: each connection has a compressor, with its history."""

    name = "tornado write_message deflate"

    def protocol(self, room: str) -> ClientProtocol:
        return _compressed(self, f"/listen_compressed?room={room}")


def _compressed(system: System, path: str) -> ClientProtocol:
    return WebSocketProtocol(
        system.reader_endpoint,
        lambda cursor: path,
        loads=cached_loads,
        deflates=True,
        keeps_context=True,
    )


COMPRESSED: dict[str, type[System]] = {
    system.name: system
    for system in (
        OurEventSource,
        GzipEventSource,
        ZstdEventSource,
        OurWebSocket,
        DeflatedWebSocket,
        NchanWebSocket,
        DeflatedNchan,
        TornadoWebSocket,
        DeflatedTornado,
    )
}


def chat_text(size: int, rng: random.Random) -> str:
    """Return words of English, each as often as any other, of so many bytes."""
    words = " ".join(rng.choices(_COMMON_WORDS.split(), k=size // 2 + 1))
    return words[:size]


def publish_words(system: System, room: str, size: int, rng: random.Random) -> RequestSpec:
    """Publish texts of `size` bytes, each another one: compression finds the same words again.

    The other systems carry what our server would send: they do not add fields of their own.
    """
    endpoint = Endpoint(system.url)
    ours = isinstance(system, Ours)
    path = getattr(system, "publish_path", "/say")

    def build(id: str, number: int) -> bytes:
        said: dict[str, Any] = {"id": id, "client": f"client-{number % 20}", "name": "Ada Lovelace"}
        said |= {"text": chat_text(size, rng), "via": "websocket"}
        if ours:
            return endpoint.build_request("POST", messages_path(room), {}, encode(said))
        event = {"kind": "say", "cursor": f"peer-{number}", **said, "sent": None}
        event["published"] = 1_795_908_000_000 + 25 * number
        return endpoint.build_request("POST", f"{path}?room={room}", {}, encode(event))

    def parse_cursor(response: Response, id: str, number: int) -> str:
        if not 200 <= response.status < 300:
            raise TestbedError(f"{system.name} answered {response.status}: {response.body!r}")
        return str(json.loads(response.body)["cursor"]) if ours else f"peer-{number}"

    return RequestSpec(endpoint, build, parse_cursor)
