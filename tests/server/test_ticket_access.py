"""A request may do what its ticket says, wherever the ticket is; it is verified once."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from tornado.httputil import HTTPHeaders

from realtime.core.access import Action
from realtime.errors import BadTicket, ForeignHost, ForeignOrigin, NoTicket, TicketExpired
from realtime.limits import Limits
from realtime.protocol.origin import OriginPolicy
from realtime.protocol.tickets import KeySet, Ticket, parse_keys
from realtime.server.ticket_access import TicketAccess
from tests.cases import each
from tests.ticket_keys import SECRET, ticket


@dataclass
class Asked:
    """A request with these header fields and this query."""

    header_fields: HTTPHeaders = field(default_factory=HTTPHeaders)
    arguments: Mapping[str, Sequence[bytes]] = field(default_factory=dict)


def asked(query: str = "", **fields: str) -> Asked:
    names = {name.replace("_", "-"): value for name, value in fields.items()}
    arguments = {"ticket": [query.encode("latin-1")]} if query else {}
    return Asked(HTTPHeaders({"Host": "127.0.0.1:8000", **names}), arguments)


class Keys:
    """Keys that can be replaced; each `verify` is counted."""

    def __init__(self) -> None:
        self.verified = 0
        self.replace(SECRET)

    def replace(self, secret: bytes) -> None:
        owner = self

        class Counted(KeySet):
            def verify(self, token: str, limits: Limits) -> Ticket:
                owner.verified += 1
                return super().verify(token, limits)

        self.set = Counted(parse_keys(secret).keys)

    def __call__(self) -> KeySet:
        return self.set


LIMITS = Limits()


def access(keys: Keys | None = None, limits: Limits = LIMITS) -> TicketAccess:
    return TicketAccess(keys or Keys(), OriginPolicy([]), limits)


# --- where the ticket is -------------------------------------------------------------------------


@each(
    "ask",
    [
        lambda token: asked(Authorization=f"Bearer {token}"),
        lambda token: asked(Authorization=f"bearer  {token}"),
        lambda token: asked(token),
        lambda token: asked(Cookie=f"realtime_ticket={token}"),
        lambda token: asked(Cookie=f"a=b; realtime_ticket={token}; c=d"),
        lambda token: asked(Cookie=f"a=b,realtime_ticket={token}"),
        lambda token: asked(token, Authorization="Basic YTpi"),  # of a proxy in front of us
    ],
    ids=["header", "lower case", "query", "cookie", "one of three", "two fields", "other scheme"],
)
def test_a_ticket_can_be_in_three_places(ask: Callable[[str], Asked]) -> None:
    grant = access().admit(ask(ticket(sub="ada", rooms=["lobby"])))
    assert (grant.client, grant.rooms) == ("ada", ("lobby",))
    assert grant.allows(Action.READ, "lobby")
    assert not grant.allows(Action.MODERATE, "lobby")


def test_the_header_field_counts_before_the_query_and_that_before_the_cookie() -> None:
    ada, bob, eve = (ticket(sub=name) for name in ("ada", "bob", "eve"))
    cookie = f"realtime_ticket={eve}"
    both = asked(bob, Authorization=f"Bearer {ada}", Cookie=cookie)
    assert access().admit(both).client == "ada"
    assert access().admit(asked(bob, Cookie=cookie)).client == "bob"


def test_a_ticket_in_a_message_counts_before_all_others() -> None:
    request = asked(ticket(sub="ada"), Authorization=f"Bearer {ticket(sub='bob')}")
    assert access().admit(request, ticket(sub="eve")).client == "eve"
    for wrong in ("", 7, [], "forged"):
        with pytest.raises(BadTicket):
            access().admit(request, wrong)


@each(
    "request_",
    [
        asked(),
        asked(Authorization="Bearer"),
        asked(Authorization=ticket()),
        asked(Authorization=f"Bearer {ticket()}, Bearer {ticket()}"),
        asked(Cookie="realtime_ticket="),
        asked(Cookie=f"my_realtime_ticket={ticket()}"),
        asked("\xff\xfe"),
    ],
    ids=["none", "no token", "no scheme", "two", "empty", "another cookie", "no text"],
)
def test_without_a_ticket_nothing_is_granted(request_: Asked) -> None:
    with pytest.raises((NoTicket, BadTicket)):
        access().admit(request_)


BROWSER = "Mozilla/5.0 (X11)"


@each(
    ("fields", "error"),
    [
        ({"Origin": "https://evil.example"}, ForeignOrigin),
        ({"Origin": "null"}, ForeignOrigin),
        ({"Sec_Fetch_Site": "cross-site"}, ForeignOrigin),
        ({"Sec_Fetch_Site": "same-site"}, ForeignOrigin),
        # An image in a page of another site, to an http address: no `Origin`, no `Sec-Fetch-Site`.
        ({"User_Agent": BROWSER}, ForeignOrigin),
        ({"User_Agent": BROWSER, "Referer": "https://evil.example/"}, ForeignOrigin),
        ({"Host": "evil.example"}, ForeignHost),
    ],
    ids=str,
)
def test_a_cookie_is_not_believed_if_another_site_can_have_caused_the_request(
    fields: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        access().admit(asked(Cookie=f"realtime_ticket={ticket()}", **fields))


@each(
    "fields",
    [
        {"Origin": "http://127.0.0.1:8000", "User_Agent": BROWSER},
        {"Sec_Fetch_Site": "same-origin", "User_Agent": BROWSER},
        {"Referer": "http://127.0.0.1:8000/demos/sse.html", "User_Agent": BROWSER},
        {"User_Agent": "curl/8"},
    ],
    ids=str,
)
def test_a_cookie_of_our_own_page_is_believed(fields: dict[str, str]) -> None:
    assert access().admit(asked(Cookie=f"realtime_ticket={ticket()}", **fields))


# --- verified once -------------------------------------------------------------------------------


def test_the_same_ticket_is_verified_once() -> None:
    keys = Keys()
    ours, token = access(keys), ticket()
    assert ours.admit(asked(token)) is ours.admit(asked(token))
    assert keys.verified == 1


def test_a_refused_ticket_is_not_kept() -> None:
    keys = Keys()
    ours = access(keys)
    for _ in range(3):
        with pytest.raises(BadTicket):
            ours.admit(asked("forged"))
    assert (keys.verified, len(ours._verified)) == (3, 0)


def test_only_so_many_verdicts_are_kept() -> None:
    keys = Keys()
    ours = access(keys, Limits(kept_tickets=2))
    first, *others = (ticket(sub=str(number)) for number in range(4))
    for token in (first, *others, first):
        ours.admit(asked(token))
    assert (keys.verified, len(ours._verified)) == (5, 2)


def test_a_ticket_ends_although_its_signature_was_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, token = access(), ticket(exp=2000, nbf=1000)
    now = 1500.0
    monkeypatch.setattr(time, "time", lambda: now)
    ours.admit(asked(token))
    for now, error in ((900.0, BadTicket), (2100.0, TicketExpired)):  # noqa: B007 - the clock
        with pytest.raises(error):
            ours.admit(asked(token))


def test_a_ticket_of_a_key_that_was_removed_is_refused_at_once() -> None:
    keys = Keys()
    ours, token = access(keys), ticket()
    ours.admit(asked(token))
    keys.replace(b"another secret with more than 32 bytes")
    with pytest.raises(BadTicket):
        ours.admit(asked(token))
