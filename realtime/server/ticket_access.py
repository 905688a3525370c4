"""The access mode `tickets`: a request may do what its ticket says, and nothing without one.

    Authorization: Bearer TICKET    programs, and pages that use `fetch`
    ?ticket=TICKET                  EventSource, WebSocket and iframes, which set no header fields
    Cookie: realtime_ticket=TICKET  a browser sends it by itself, also for pages of other sites

The first of these that is there counts.  A signature is checked once, and the verdict kept: a poll
that comes again costs a lookup.
"""

import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from realtime.core.access import AccessRequest, Grant
from realtime.errors import BadTicket, NoTicket
from realtime.limits import Limits
from realtime.protocol.http1 import origin_fields
from realtime.protocol.origin import OriginPolicy
from realtime.protocol.tickets import KeySet, Ticket

TICKET_COOKIE = "realtime_ticket"
# Where Tornado has joined two fields, it wrote a comma.
_COOKIE = re.compile(rf"(?:^|[;,]) *{TICKET_COOKIE}=([^;,\s]*)")
_BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)  # RFC 9110 §11.1: in any case


class TicketAccess:
    """Grants what the ticket of a request says; `keys` returns the same object until it changes."""

    mode = "tickets"

    def __init__(
        self, keys: Callable[[], KeySet], origin_policy: OriginPolicy, limits: Limits
    ) -> None:
        self._keys = keys
        self._origin_policy = origin_policy
        self._limits = limits
        self._verified: dict[str, Ticket] = {}  # by token, signed by one of `_verified_by`
        self._verified_by: KeySet | None = None

    def admit(self, request: AccessRequest, ticket: Any = None) -> Grant:
        """Return what a ticket grants; raises `NoTicket`, `BadTicket` or `TicketExpired`."""
        token = self._find_token(request) if ticket is None else ticket
        if token is None:
            raise NoTicket(
                "You need a ticket here: send it as `Authorization: Bearer …` or `?ticket=…`."
            )
        if not isinstance(token, str):
            raise BadTicket("A ticket in a message must be a string.")
        verified = self._verify(token)
        verified.check_time(time.time())
        return verified.grant

    def _verify(self, token: str) -> Ticket:
        keys = self._keys()
        if keys is not self._verified_by:  # a key that was removed has signed some of them
            self._verified.clear()
            self._verified_by = keys
        ticket = self._verified.get(token)
        if ticket is None:
            ticket = keys.verify(token, self._limits)
            if len(self._verified) >= self._limits.kept_tickets:
                del self._verified[next(iter(self._verified))]  # the oldest
            self._verified[token] = ticket
        return ticket

    # --- where the token is ----------------------------------------------------------------------

    def _find_token(self, request: AccessRequest) -> str | None:
        if match := _BEARER.fullmatch(request.header_fields.get("Authorization", "")):
            return match[1]
        if values := request.arguments.get("ticket"):
            return _text(values)
        if match := _COOKIE.search(request.header_fields.get("Cookie", "")):
            self._check_sender(request)
            return match[1]
        return None

    def _check_sender(self, request: AccessRequest) -> None:
        """Reject a cookie unless one of our pages, or no page, has sent the request (CSRF).

        A browser sends a cookie with a GET that a page of another site has caused, too.
        """
        fields = request.header_fields
        self._origin_policy.check(*origin_fields(fields))
        self._origin_policy.check_joiner(fields.get("Host"), fields)


def _text(values: Sequence[bytes]) -> str:
    return values[-1].decode("latin-1")  # a ticket is ASCII; anything else is refused as no ticket
