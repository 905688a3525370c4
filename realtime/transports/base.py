"""What all transports share: the services, the checks of a request, its subscription, its member.

A transport is an exchange or a handler that owns one reader or one subscriber, and one pure
function `frame(event) -> bytes`.  Its file shows only what makes it different.  The steps that it
calls are here, in `exchange` (a request and its response), in `streaming` (a streaming response),
in `membership` (a client in a room) and in `handler` (what Tornado's own classes serve).
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

from realtime import errors
from realtime.core.access import (
    EVERYTHING,
    KEY_PREFIX,
    Access,
    Action,
    FreeAccess,
    Grant,
)
from realtime.core.admission import Admission
from realtime.core.events import (
    LECTURER,
    Cursor,
    Draft,
    Member,
    Receipt,
    is_lecturers_room,
    moderated_room,
    parse_client,
    parse_name,
    parse_room,
)
from realtime.core.hub import After, Hub, Reader
from realtime.core.moderation import Moderation
from realtime.core.presence import Presence
from realtime.errors import RealtimeError
from realtime.limits import Limits
from realtime.protocol.http1 import OriginFields
from realtime.protocol.origin import OriginPolicy
from realtime.tasks import Turns

# Events of the past that a reader without a cursor receives ...
DEFAULT_HISTORY = 50
# ... and one with `after=now`.
NOW = 0
TOO_MANY_STREAMS = "You have too many streams open; close some, or try again later."
TOO_MANY_CONNECTIONS = "Too many connections are open; close some, or try again later."
# A body that is too long, or not expected, is read and discarded up to this size, so that the
# client receives our error: a client that still sends when we close would only see a reset.
MAX_DISCARDED_BODY = 1_048_576
# Where a request without a body, and without a query that is logged, shows its secret.
SECRET_FIELD = "X-Client-Secret"
# What a page at another of our ports may read, and send (CORS, in the Fetch standard).
CORS_HEADERS = {"Access-Control-Expose-Headers": "Retry-After", "Vary": "Origin"}
PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
    "Access-Control-Max-Age": "7200",
}


class Connection(Protocol):
    """A connection as transports use it: it counts its bytes and accepts pushes."""

    address: str
    connection_id: int
    shared: bool
    over_limit: bool
    bytes_in: int
    events: int
    drained: Callable[[], None] | None

    def begin_request(self, transport: str, client: str | None) -> None: ...
    def close(self) -> None: ...
    def push(self, data: bytes, events: int) -> bool: ...
    def closed(self) -> bool: ...
    def set_close_callback(self, callback: Callable[[], None] | None) -> None: ...


class Stream(Connection, Protocol):
    """A connection over TCP: an IOStream of Tornado."""

    @property
    def local_address(self) -> tuple[str, int]: ...
    def end_request(self) -> None: ...
    def read_on(self, *, more: bool) -> None: ...
    def write(self, data: bytes) -> "asyncio.Future[None]": ...
    def set_half_close_callback(self, callback: Callable[[], object]) -> None: ...


@dataclass(frozen=True, slots=True)
class Services:
    """What every handler can use."""

    hub: Hub
    presence: Presence
    origin_policy: OriginPolicy
    admission: Admission
    limits: Limits
    turns: Turns = field(default_factory=Turns)  # of requests that are costly to answer
    access: Access = field(default_factory=FreeAccess)
    moderation: Moderation | None = None  # nobody moderates in the mode `open`

    async def publish(self, draft: Draft, sender: "Sender") -> Receipt:
        """Publish if the limits of the client, its connection, its address and the room allow it.

        `draft` is what `sender.parse` has returned.
        """
        if is_lecturers_room(draft.room):
            raise errors.LecturersOnly("Only the lecturer publishes in a room that ends in .class.")
        if draft.via == LECTURER:
            raise errors.LecturersOnly("Only the lecturer's messages have `via` lecturer.")
        if self.moderation is not None:
            room = moderated_room(draft.room)
            rules = await self.moderation.rules(room)
            rules.check_speaker(draft.client)
            if sender.member is not None:  # a message need not name the client of its connection
                rules.check_speaker(sender.member)
        share = self.share_of(draft.client or sender.member)
        self.admission.admit_message(draft, sender.connection, sender.address, _now(), share)
        if self.moderation is not None and room == draft.room:  # a vote has no name
            await self.moderation.check_name(room, rules, draft.name)
        return await self.hub.publish(draft)

    async def admit_member(self, room: str, member: Member, address: str, *, stream: bool) -> None:
        """Return if the rules and limits of the room allow this member; raises a named error.

        It comes before `Presence.track`, so that a refusal has nothing to release.
        """
        now, is_new = _now(), not self.presence.is_tracked(room, member.client)
        if self.moderation is not None:
            moderated = moderated_room(room)
            rules = await self.moderation.rules(moderated)
            rules.check_member(member.client)
            self._check_limits_of_client(member.client, now, joins=is_new, stream=stream)
            await self.moderation.check_name(moderated, rules, member.name)
        if is_new:
            self.admission.admit_member(room, address, now, self.share_of(member.client))

    def share_of(self, client: str | None) -> str | None:
        """Return whose share counts in a class: a client, or ``""`` for all without an id."""
        return None if self.moderation is None else client or ""

    async def read(self, subscription: "Subscription", address: str) -> Reader:
        """Return a reader of what `subscription` requests, see `Hub.read`."""
        member = subscription.member
        share = self.share_of(member.client if member else None)
        return await self.hub.read(subscription.room, subscription.after, address, share)

    def track_poll_again(self, room: str, member: Member) -> bool:
        """Track a poll of a member that `admit_member` has admitted, if that needs no waiting.

        Return False if the rules or limits must decide, or the broker must be asked.
        """
        if self.moderation is not None and not self.moderation.admits_now(
            moderated_room(room), member
        ):
            return False
        return self.presence.track_poll_again(room, member)

    async def leave(self, room: str, client: str) -> None:
        """Take a client off the list of members now, see `Presence.leave`."""
        if self.moderation is not None:
            self.admission.admit_quit(client, _now())
        await self.presence.leave(room, client)

    def _check_limits_of_client(
        self, client: str, now: float, *, joins: bool, stream: bool
    ) -> None:
        """Raise `TooFast` or `Busy` for one of a class that takes more than its share."""
        if joins:
            self.admission.admit_join(client, now)
        if stream and self.presence.count_streams(client) >= self.limits.streams_per_client:
            raise errors.Busy(TOO_MANY_STREAMS, retry_after=10)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends messages, and what it may do.

    `connection` identifies a connection or session; None if many clients share it.  `secret` is the
    one of the request that opened it: then its messages need not repeat it.  `member` is the client
    that has joined on the connection.
    """

    address: str
    connection: str | None
    grant: Grant
    secret: str | None = field(default=None, repr=False)
    member: str | None = None

    def parse(self, body: bytes, room: str, limits: Limits, via: str) -> Draft:
        """Parse a message that it may publish; raises a named error."""
        draft = Draft.parse(body, room, limits, via)
        self.grant.require(Action.SPEAK, room)
        identity = self.grant.identify(draft.client, draft.name, draft.secret or self.secret)
        if identity == (draft.client, draft.name):
            return draft
        return replace(draft, client=identity[0], name=identity[1])


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a reader requests: which room, from which position, and as which member.

    `grant` is what it may do there, also later, and `secret` what its messages need not repeat.
    """

    room: str
    after: After
    member: Member | None
    grant: Grant = EVERYTHING
    secret: str | None = field(default=None, repr=False)

    @classmethod
    def parse(
        cls,
        room: Any,
        after: Any,
        client: Any,
        name: Any,
        *,
        via: str,
        limits: Limits,
        grant: Grant = EVERYTHING,
        secret: str | None = None,
    ) -> Self:
        """Parse values from a query or a message; raises a named error for each field.

        It also raises the errors of `Grant.require` and `Grant.identify`.
        """
        if client is not None:
            parse_client(client)
        if name is not None:
            parse_name(name, limits)
        room, after = parse_room(room), _parse_after(after)
        grant.require(Action.READ, room)
        is_member = client is not None  # without an id it only listens, whoever it is
        client, name = grant.identify(client, name, secret)
        member = Member(client, name, via) if is_member and client and name else None
        return cls(room, after, member, grant, secret)

    def sender(self, address: str, connection: str) -> Sender:
        """Return who sends messages on the connection of this reader."""
        member = self.member.client if self.member else None
        return Sender(address, connection, self.grant, self.secret, member)


class RequestBase:
    """A request that is checked and counted, whichever class has parsed it.

    `transport` names the row of the traffic statistics.
    """

    transport: str
    is_head: bool  # the response has no body: then nobody waits or joins
    services: Services
    stream: Connection
    origin_fields: OriginFields
    arguments: Mapping[str, Sequence[bytes]]  # of the query

    @property
    def header_fields(self) -> Mapping[str, str]:
        """The header fields of the request; their names are in any case."""
        raise NotImplementedError

    # --- checks ----------------------------------------------------------------------------------

    def check_request_origin(self) -> None:
        """Reject host names that are not ours, and pages of other sites."""
        self.services.origin_policy.check(*self.origin_fields)

    @property
    def cors_origin(self) -> str | None:
        """The origin of the requesting page, if that page is ours, at another port."""
        host, origin, _ = self.origin_fields
        return self.services.origin_policy.cors_origin(origin, host)

    def client_id_for_stats(self) -> str | None:
        """The client id in the query, if this request may use it."""
        try:
            client = self.argument("client", errors.BadClient)
            return client and self.check_client(client)
        except RealtimeError:
            return None

    def check_client(self, client: str) -> str:
        """Return a client id if this request may use it; raises a named error otherwise."""
        self.admit().identify(parse_client(client), None, self.secret_of(client))
        return client

    def share(self) -> str | None:
        """Whose share of a class this request uses, by ``?client=``; raises a named error."""
        client = self.argument("client", errors.BadClient)
        return self.services.share_of(client and self.check_client(client))

    def secret_of(self, client: str | None) -> str | None:
        """The secret that the request shows for a client id, if such an id needs one."""
        if client is None or not client.startswith(KEY_PREFIX):
            return None
        return self.argument("secret", errors.WrongSecret) or self.header_fields.get(SECRET_FIELD)

    def admit(self, ticket: Any = None) -> Grant:
        """What this request may do; raises a named error if its credentials are wrong.

        `ticket` is one that came later, in a message.
        """
        return self.services.access.admit(self, ticket)

    # --- the query -------------------------------------------------------------------------------

    def argument(self, name: str, error: type[RealtimeError]) -> str | None:
        """The last `name` in the query, None if empty or absent; raises `error` if not UTF-8."""
        values = self.arguments.get(name)
        try:
            return values[-1].decode("utf-8") or None if values else None
        except UnicodeDecodeError as cause:
            raise error(f"`{name}` must be percent-encoded UTF-8.") from cause

    def number(
        self, name: str, default: float, maximum: float, error: type[RealtimeError]
    ) -> float:
        """A number from 0 to `maximum` in the query; raises `error`."""
        text = self.argument(name, error)
        try:
            value = default if text is None else float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= maximum:
            raise error(f"`{name}` must be a number from 0 to {maximum:g}.")
        return value

    def parse_subscription(
        self, room: str, resume: str | None = None, ticket: Any = None
    ) -> Subscription:
        """Parse ``?after=&client=&name=``, common to all transports; `resume` wins over `after`.

        Raises `ForeignOrigin` if a page of another site wants to make a member.
        """
        client = self.argument("client", errors.BadClient)
        subscription = Subscription.parse(
            room,
            resume or self.argument("after", errors.BadCursor),
            client,
            None if self.is_head else self.argument("name", errors.BadName),
            via=self.transport,
            limits=self.services.limits,
            grant=self.admit(ticket),
            secret=self.secret_of(client),
        )
        if self.is_head and subscription.member is not None:  # the name is that of its grant
            return replace(subscription, member=None)
        if subscription.member is not None:
            self.services.origin_policy.check_joiner(self.origin_fields[0], self.header_fields)
        return subscription

    def tracked(
        self, subscription: Subscription, reader: Reader
    ) -> AbstractAsyncContextManager[None]:
        """Be a member of the room during a poll, and until the lease ends.

        If the member is removed meanwhile, `reader.wait` raises that error.
        """
        if subscription.member is None:
            return nullcontext()
        return _PollingMember(
            self.services, subscription.room, subscription.member, self.stream.address, reader
        )


def check_connection_limit(stream: Connection) -> None:
    """Reject a request above the connection limit of its client, which a trusted proxy named."""
    if stream.over_limit:
        raise errors.Busy(TOO_MANY_CONNECTIONS, retry_after=10)


class _PollingMember(AbstractAsyncContextManager[None]):
    def __init__(
        self, services: Services, room: str, member: Member, address: str, reader: Reader
    ) -> None:
        self._services = services
        self._room = room
        self._member = member
        self._address = address
        self._reader = reader
        self._error: RealtimeError | None = None  # which ended it

    async def __aenter__(self) -> None:
        services, room, member = self._services, self._room, self._member
        await services.admit_member(room, member, self._address, stream=False)
        try:
            await services.presence.track(room, member, stream=False)
            if services.moderation is not None:
                services.moderation.add(room, member.client, self)
            if self._error is not None:
                raise self._error
        except BaseException:  # also a cancellation: the member must not stay forever
            await self.__aexit__()
            raise

    async def __aexit__(self, *error: object) -> None:
        if self._services.moderation is not None:
            self._services.moderation.discard(self._room, self)
        self._services.presence.untrack(self._room, self._member, stream=False)

    def end(self, error: RealtimeError) -> None:
        """Answer the poll with this error, if it waits."""
        self._error = error
        self._reader.cancel(error)


def decode_path_segment(data: bytes) -> str:
    """Decode a path segment whose percent-encoding has been removed."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise errors.BadRoom("A name in a URL must be percent-encoded UTF-8.") from error


def _now() -> float:
    return asyncio.get_running_loop().time()


def _parse_after(text: Any) -> After:
    if text is None:
        return DEFAULT_HISTORY
    return NOW if text == "now" else Cursor.parse(text)
