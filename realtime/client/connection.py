"""A connection that lasts: it reconnects, resumes by its cursor, and yields no event twice.

    receive ◀── is its id new? ◀── event ◀── client ──▶ ended or silent
                                               ▲              │
                                               └── wait ◀─────┘

The wait has full jitter, and the next client continues from the cursor.  A client is one attempt,
and this file decides when the next one starts.  Nothing reads in the background: a program that
does something else only has an older cursor.
"""

import asyncio
import json
import logging
import random
import secrets
import ssl
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

from realtime.client.base import Client
from realtime.client.clients import ALL_CLIENTS
from realtime.client.http import (
    BadResponse,
    Closed,
    Headers,
    Refused,
    Response,
    check_field,
    request,
)
from realtime.client.sansio import Event, client_id, parse_poll, room_path

# A ticket, or what gets a new one for each attempt, since tickets end.
Ticket = str | Callable[[], Awaitable[str]]

# The scheme of the requests, and the transport where none is named.
_SCHEMES = {
    "ws": ("http", "websocket"),
    "wss": ("https", "websocket"),
    "http": ("http", "sse"),
    "https": ("https", "sse"),
}
# The ceiling doubles from one second to ten, and the wait is a random part of it ("full jitter").
# Without jitter all clients of a server that restarts would return in the same instant.
_MIN_CEILING, _MAX_DOUBLINGS, _MAX_CEILING = 1.0, 4, 10.0
# To open a connection, and for an acknowledgement.
_RESPONSE_SECONDS = 10.0
# Two and a half heartbeats: one may be late, two are not.
_IDLE_SECONDS = 2.5 * 15.0
# To tell the server that we leave.
_CLOSE_SECONDS = 2.0
# Ids that are remembered.  A server keeps 1 200 events of a room unless it is told otherwise, and
# after a gap it sends all of them again.
_MAX_SEEN = 10_000
# Events that arrive while a program only sends.  More are dropped with their connection, and read
# again from the cursor.
_MAX_UNREAD = 2_000
# Seconds, as on our page: the client alone polls ten times a second, for the benchmarks.
_DEFAULTS = {"short_polling": {"interval": 2.0}}
# Options of one transport only.
_TRANSPORT_OF = {
    "interval": "short_polling",
    "wait": "long_polling",
    "pad": "iframe_streaming",
    "udp_port": "webtransport",
}
# Codes of errors that may be over in a moment.
_TRANSIENT = {"too_fast", "too_slow", "busy", "no_broker", "going_away", "name_not_approved"}

_log = logging.getLogger("realtime.client")


def connect(
    url: str,
    *,
    transport: str | None = None,
    name: str | None = None,
    client: str | None = None,
    secret: str | None = None,
    after: str | None = None,
    ticket: Ticket | None = None,
    headers: Headers | None = None,
    tls: ssl.SSLContext | None = None,
    **options: Any,
) -> "ResumingConnection":
    """Connect to the room at `url`: ``ws://HOST[:PORT]/ROOM``, or wss, http or https.

    `transport` is one of `ALL_CLIENTS`; without it, ws means WebSocket and http server-sent events.
    Below a path of a site, the room is the last part: ``https://example.org/chat/lobby``.

    With a `name` you are a member of the room, else you only listen.  `client` is your id; without
    it, it is the hash of `secret`, or of a random one.  `after` is a cursor, ``"now"``, or None for
    the last 50 events.  A `ticket` is one, or a coroutine function that returns a new one for each
    attempt.  `headers` are sent with every request.  `tls` says which certificates to trust.
    `options` are those of the client of the transport: `interval`, `wait`, `pad`, `udp_port`, and
    `encoding`.

    Raises ValueError for an address without a room, for an unknown transport, and for an option of
    another transport.
    """
    address, room, default = _parse(url)
    transport = transport or default
    if transport not in ALL_CLIENTS:
        raise ValueError(f"{transport!r} is not a transport; there are {', '.join(ALL_CLIENTS)}")
    for option in options:
        if transport != (only := _TRANSPORT_OF.get(option, transport)):
            raise ValueError(f"`{option}` is an option of {only}, and not of {transport}")
    if name is not None and client is None and secret is None:
        secret = secrets.token_hex(16)
    return ResumingConnection(
        address,
        room,
        transport,
        name=name,
        client=client,
        secret=secret,
        after=after,
        ticket=ticket,
        headers=headers,
        tls=tls,
        options={**_DEFAULTS.get(transport, {}), **options},
    )


def _parse(url: str) -> tuple[str, str, str]:
    """Return the address of the server, the room, and the transport that the scheme means."""
    parts = urlsplit(url)
    root, _, room = parts.path.rpartition("/")
    # `port` raises ValueError for a number that is none.
    usual = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0 and room
    if not usual or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{url!r} is not the address of a room, such as ws://127.0.0.1:8000/lobby")
    scheme, transport = _SCHEMES[parts.scheme]
    return f"{scheme}://{parts.netloc}{root}", unquote(room), transport


class ResumingConnection:
    """What `connect` returns: an async context manager, and an async iterator over the events.

    Outside of ``async with``, the connection is cut when nobody refers to it.  One task may iterate
    while others send.

    An error is raised only where another attempt is pointless: `Refused`, with the server's code;
    `BadResponse`, if no server of ours responds; `ssl.SSLCertVerificationError`.  The next call
    tries again.  After `close`, `Closed` is raised.
    """

    def __init__(
        self,
        url: str,
        room: str,
        transport: str,
        *,
        name: str | None,
        client: str | None,
        secret: str | None,
        after: str | None,
        ticket: Ticket | None,
        headers: Headers | None,
        tls: ssl.SSLContext | None,
        options: dict[str, Any],
    ) -> None:
        self.room = room
        self.transport = transport
        self.name = name
        self.secret = secret
        self.client = client_id(secret) if client is None and secret is not None else client
        self._url = url
        self._after = after
        self._ticket = ticket
        self._headers = headers or {}
        self._tls = tls
        self._options = options
        # Silence between two polls is usual.
        self._idle_seconds = _IDLE_SECONDS + sum(
            options.get(name, 0.0) for name in ("interval", "wait")
        )
        self._cursor = self._position = None if after == "now" else after
        self._earlier: deque[Event] = deque()  # those before the position at which we started
        self._seen: dict[str, None] = {}  # ids, the oldest first
        self._open_client: Client | None = None
        self._opening: asyncio.Task[None] | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._has_joined = self._closed = False

    @property
    def cursor(self) -> str | None:
        """The position of the last event that was received; as `after`, it continues there."""
        return self._cursor

    @property
    def connected(self) -> bool:
        """Whether a connection is open, as far as we know."""
        return self._open_client is not None

    # --- receive ---------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self.receive()
        except Closed:  # by `close`
            raise StopAsyncIteration from None

    async def receive(self) -> Event:
        """Wait for the next event; may be cancelled, by a timeout for example, and loses nothing.

        An event of the kind ``gap`` says that the history between the cursor and the next event is
        lost.
        """
        while True:
            client = await self._connected()
            try:
                event = self._earlier.popleft() if self._earlier else await self._read(client)
            except (OSError, Refused, BadResponse) as error:
                self._lost(client, error)
                continue
            # An event that is not new has a new position when the log was lost and restored.
            self._cursor = event["cursor"]
            if self._is_new(event):
                return event

    async def _read(self, client: Client) -> Event:
        """Wait for an event; raises TimeoutError if not even a heartbeat arrives."""
        while True:
            before = client.down.bytes_in
            try:
                async with asyncio.timeout(self._idle_seconds):
                    return await client.receive()
            except TimeoutError:
                if client.down.bytes_in == before:
                    raise

    def _is_new(self, event: Event) -> bool:
        id = event.get("id")
        if id is None:  # a gap
            return True
        if id in self._seen:
            return False
        self._seen[id] = None
        if len(self._seen) > _MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        return True

    # --- send ------------------------------------------------------------------------------------

    async def send(self, text: str, *, id: str | None = None) -> dict[str, Any]:
        """Publish `text`, under the same id until it is acknowledged; return ``{"id", "cursor"}``.

        The server keeps each id once, so nothing is published twice.  With an `id`, a UUID, a
        program can also repeat the call itself.  Raises `Refused` if the server does not accept it.
        """
        fields = {"id": id or str(uuid.uuid4()), "sent": round(time.time() * 1000, 1)}
        failures = 0
        while True:
            client = await self._connected()
            try:
                async with asyncio.timeout(_RESPONSE_SECONDS):
                    receipt = await client.send(text, **fields)
            except Refused as refused:
                if not self._may_pass(refused):
                    raise
                if refused.status == 401:  # the ticket has ended: the next attempt has another
                    self._lost(client, refused)
                else:
                    await asyncio.sleep(_wait(failures, refused))
                    failures += 1
            except (OSError, BadResponse) as error:
                self._lost(client, error)
            else:
                if client.unread > _MAX_UNREAD:
                    self._lost(client, Closed(None, "this program does not read"))
                return receipt

    # --- attempts --------------------------------------------------------------------------------

    async def _connected(self) -> Client:
        """Return the open client, or wait for one.

        The task that opens it survives the cancellation of this call: a program that waits for an
        event with a short timeout would else never reconnect.
        """
        self._check_not_closed()
        while self._open_client is None:
            opening = self._opening or asyncio.create_task(self._open())
            self._opening = opening
            await asyncio.wait([opening])
            self._check_not_closed()
            if self._opening is opening:
                self._opening = None
            opening.result()
        return self._open_client

    def _check_not_closed(self) -> None:
        if self._closed:
            raise Closed(None, "this program has closed the connection")

    async def _open(self) -> None:
        """Try until a client is open; raises what makes another attempt pointless."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self._retry_at - now())
            try:
                self._open_client = await self._attempt()
            except (OSError, Refused, BadResponse) as error:
                self._failed(error)
            else:
                self._failures = 0
                self._has_joined = True
                return

    async def _attempt(self) -> Client:
        headers = await self._request_headers()
        if self._position is None:
            await self._find_position(headers)
        client = ALL_CLIENTS[self.transport](
            self._url,
            self.room,
            client=self.client,
            name=self.name,
            secret=self.secret,
            after=self._position,
            headers=headers,
            tls=self._tls,
            **self._options,
        )
        try:
            async with asyncio.timeout(_RESPONSE_SECONDS):
                await client.open()
        except BaseException:
            client.abort()
            raise
        return client

    async def _find_position(self, headers: Headers) -> None:
        """Ask for the cursor to start from, and for the events before it.

        A stream that has delivered nothing has no cursor.  When it breaks, "now" would mean a later
        moment, and what came in between would be lost.
        """
        path = room_path("short_polling", self.room, after=self._after)
        response = (await self._request("GET", path, headers)).check(200)
        updates, _ = parse_poll(response.body, json.loads)
        self._earlier.extend(event for event, _ in updates if event is not None)
        _, self._position = updates[-1]
        if not self._earlier:
            self._cursor = self._position

    async def _request_headers(self) -> Headers:
        headers = self._headers
        if self._ticket is not None:
            ticket = self._ticket if isinstance(self._ticket, str) else await self._ticket()
            headers = {**headers, "Authorization": f"Bearer {ticket}"}
        for name, value in headers.items():
            check_field(name, value)
        return headers

    async def _request(self, method: str, path: str, headers: Headers) -> Response:
        async with asyncio.timeout(_RESPONSE_SECONDS):
            return await request(self._url, method, path, headers=headers, tls=self._tls)

    def _lost(self, client: Client, error: Exception) -> None:
        """Continue without this client; raises `error` if another attempt is pointless."""
        client.abort()
        if client is self._open_client:
            self._open_client = None
            self._position = client.cursor or self._position
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Choose the time of the next attempt; raises `error` if that is pointless."""
        if not self._may_pass(error):
            raise error
        seconds = _wait(self._failures, error)
        self._retry_at = asyncio.get_running_loop().time() + seconds
        # The end of a connection is usual, an attempt that fails is not.
        level = logging.WARNING if self._failures == 1 else logging.INFO
        why = f"{type(error).__name__}: {error}"
        _log.log(level, "%s at %s: %s; again in %.1f s", self.room, self._url, why, seconds)
        self._failures += 1

    def _may_pass(self, error: Exception) -> bool:
        """Whether another attempt may succeed."""
        if isinstance(error, OSError):
            return not isinstance(error, ssl.SSLCertVerificationError)
        if isinstance(error, Refused):
            if error.code == "ticket_expired" and callable(self._ticket):
                return True
            if error.code in _TRANSIENT or error.retry_after:
                return True
        status = getattr(error, "status", None)
        # A proxy whose server restarts sends an error page of its own.
        return status is not None and (status >= 500 or status in (408, 429))

    # --- open and close --------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._connected()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection and leave the room; calls that wait raise `Closed`."""
        if self._closed:
            return
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        client, self._open_client = self._open_client, None
        if client is not None:
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await client.close()
            except BaseException as error:
                client.abort()
                if not isinstance(error, OSError):
                    raise
        if self._has_joined:
            await self._leave()

    def __del__(self) -> None:
        if self._open_client is not None:
            with suppress(RuntimeError):  # the event loop has ended
                self._open_client.abort()

    async def _leave(self) -> None:
        """Leave the list of members now, and not when the lease ends."""
        if self.name is None or self.client is None:
            return
        member = f"members/{quote(self.client, safe='')}"
        path = room_path(member, self.room, secret=self.secret)
        with suppress(OSError, Refused, BadResponse):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._request("DELETE", path, await self._request_headers())


def _wait(failures: int, error: Exception) -> float:
    """Return how long to wait after so many failures in a row, in seconds."""
    ceiling = min(_MAX_CEILING, _MIN_CEILING * 2 ** min(failures, _MAX_DOUBLINGS))
    retry_after: float = getattr(error, "retry_after", None) or 0.0
    return retry_after + random.uniform(0, ceiling)
