"""WebTransport, the client's half: lines in both directions on one stream of a QUIC session.

Needs aioquic, which is imported when a client opens: all other clients work without it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realtime.client.base import Client
from realtime.client.fetch_streaming import LineReader
from realtime.client.http import (
    BadResponse,
    ByteCount,
    Closed,
    Endpoint,
    HTTPConnection,
    Refused,
    Response,
    expecting,
)
from realtime.client.replies import PendingReplies
from realtime.client.sansio import ClientProtocol, Loads, RoomQuery, Update, with_cursor

if TYPE_CHECKING:
    from realtime.client.quic import SessionProtocol
    from realtime.client.quic_socket import WebTransportSession


@dataclass(frozen=True, slots=True)
class SessionOffer:
    """The UDP port of a server, and the SHA-256 hashes of its certificates in base64."""

    port: int
    hashes: Sequence[str]

    def authority(self, endpoint: Endpoint) -> str:
        """Return the host of `endpoint` with our port, also where an emulator is in between."""
        return f"{endpoint.authority.removesuffix(f':{endpoint.port}')}:{self.port}"


def parse_offer(lab: Response) -> SessionOffer:
    """Read the offer in a response of ``/lab``; raises `Refused` if there is none."""
    with expecting("a port or a reason"):
        offer = lab.check(200).json()["webtransport"]
        if "port" in offer:
            return SessionOffer(int(offer["port"]), list(offer["hashes"]))
        reason = offer["reason"]
    raise Refused(None, "no_webtransport", f"The server has no WebTransport: {reason}")


class WebTransportProtocol(ClientProtocol):
    """Reads the lines of a session; the port of `endpoint` is that of UDP."""

    def __init__(
        self,
        endpoint: Endpoint,
        query: RoomQuery,
        offer: SessionOffer,
        *,
        loads: Loads = json.loads,
    ) -> None:
        super().__init__(endpoint)
        self._query = query
        self._offer = offer
        self._loads = loads
        self._lines = LineReader(loads)

    def new_session(self) -> "SessionProtocol":
        from realtime.client.quic import SessionProtocol

        authority = self._offer.authority(self.endpoint)
        path = self._query.path("webtransport", self.cursor)
        self.ready = False
        return SessionProtocol(authority, path, self.headers, self._offer.hashes)

    def request(self) -> bytes:
        """The request was that of the session: the stream is open."""
        self._lines = LineReader(self._loads)
        self.ready = True
        return b""

    def receive_data(self, data: bytes, now: float) -> Sequence[Update]:
        updates = [with_cursor(event) for event in self._lines.feed(data)]
        if updates:
            self.cursor = updates[-1][1]
        return updates

    def receive_eof(self) -> bool:
        self.closed = Closed(None, "the session ended")
        return False


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

        offer = await self._get_offer()
        fields = dict(self._headers)
        authority = offer.authority(self._endpoint)
        path = self._query.path(self.transport, self.cursor, **self._arguments)
        self._session = await WebTransportSession.open(
            (self._endpoint.host, self._udp_port or offer.port),
            SessionProtocol(fields.pop("Host", authority), path, fields, offer.hashes),
            self.down,
            self._endpoint.source,
        )

    async def _get_offer(self) -> SessionOffer:
        """Ask for the port and the hashes; each server that starts has another certificate."""
        connection = HTTPConnection(self._endpoint, ByteCount(), self._headers)
        try:
            return parse_offer(await connection.request("GET", "/lab"))
        finally:
            await connection.close()

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
