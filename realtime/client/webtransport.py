"""WebTransport, the client's half: lines in both directions on one stream of a QUIC session.

Needs aioquic, which is imported when a client opens: all other clients work without it.
"""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from realtime.client.base import Client
from realtime.client.fetch_streaming import LineReader
from realtime.client.http import (
    BadResponse,
    ByteCount,
    Closed,
    HTTPConnection,
    Refused,
    expecting,
)
from realtime.client.replies import PendingReplies
from realtime.client.sansio import with_cursor

if TYPE_CHECKING:
    from realtime.client.quic_socket import WebTransportSession


class WebTransportClient(Client):
    """Publishes on the same stream; many messages may be pending, each gets its own reply.

    Port and hashes of the certificate come from ``/lab``.  `udp_port` is that of a network
    emulator, which has the number of its TCP port.  `query` has further arguments of the address,
    such as `datagrams`.
    """

    transport = "webtransport"

    def __init__(
        self,
        url: str,
        room: str,
        *,
        udp_port: int | None = None,
        query: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(url, room, **options)
        self._udp_port = udp_port
        self._arguments = query or {}
        self._session: WebTransportSession | None = None
        self._lines = LineReader(json.loads)
        self._pending = PendingReplies()

    @property
    def datagrams(self) -> list[bytes]:
        """The datagrams that have arrived; each is an event without its line end."""
        return [] if self._session is None else list(self._session.datagrams)

    async def open(self) -> None:
        try:
            from realtime.client.quic import SessionProtocol
            from realtime.client.quic_socket import WebTransportSession
        except ImportError as error:
            how = "pip install 'realtime-transports[webtransport]'"
            raise ImportError(f"the transport webtransport needs aioquic: {how}") from error

        port, hashes = await self._get_offer()
        fields = dict(self._headers)
        own_port = f":{self._endpoint.port}"
        authority = f"{self._endpoint.authority.removesuffix(own_port)}:{port}"
        path = self._query.path(self.transport, self.cursor, **self._arguments)
        self._session = await WebTransportSession.open(
            (self._endpoint.host, self._udp_port or port),
            SessionProtocol(fields.pop("Host", authority), path, fields, hashes),
            self.down,
            self._endpoint.source,
        )

    async def _get_offer(self) -> tuple[int, list[str]]:
        """Ask for the port and the hashes; each server that starts has another certificate."""
        connection = HTTPConnection(self._endpoint, ByteCount(), self._headers)
        try:
            response = (await connection.request("GET", "/lab")).check(200)
        finally:
            await connection.close()
        with expecting("a port or a reason"):
            offer = response.json()["webtransport"]
            if "port" in offer:
                return int(offer["port"]), list(offer["hashes"])
            reason = offer["reason"]
        raise Refused(None, "no_webtransport", f"The server has no WebTransport: {reason}")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        await super().close()

    def abort(self) -> None:
        if self._session is not None:
            self._session.abort()
        super().abort()

    async def _read(self) -> None:
        await self._until(lambda: bool(self._updates))

    async def _until(self, done: Callable[[], bool]) -> None:
        """Wait until `done()`: each task that waits reads for all of them; raises `Closed`."""
        session = self._opened()
        while True:
            self._take(session.read())
            if done():
                return
            if session.closed is not None:
                self._pending.fail(session.closed)
                raise Closed(session.closed.code, session.closed.reason)
            await session.changed()

    def _take(self, data: bytes) -> None:
        if data:
            self._opened().wake()  # it may be for another task
        for message in self._lines.feed(data):
            if message["kind"] in ("ack", "error"):
                self._pending.resolve(message)
            else:
                self._updates.append(with_cursor(message))

    async def send_body(self, body: bytes) -> dict[str, Any]:
        session = self._opened()
        if b"\n" in body:
            raise BadResponse("a line ends at the first line feed: write the JSON without any")
        pending = self._pending.add(body)
        try:
            session.write(body + b"\n")
            await self._until(pending.reply.done)
            return pending.reply.result()
        finally:
            self._pending.remove(pending)

    def _opened(self) -> "WebTransportSession":
        assert self._session is not None, "not open"
        return self._session
