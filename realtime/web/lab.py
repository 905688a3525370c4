"""What the demo pages use besides the chat: a traffic capture, network conditions, a QR code."""

import asyncio
import hmac
import io
import logging
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import segno

from realtime import errors
from realtime.core.access import EVERYTHING, Action, Grant
from realtime.core.events import Member, parse_client, parse_name, parse_room
from realtime.core.moderation import EVERYBODY, Moderation
from realtime.core.names import without_number
from realtime.core.rate_limit import RateLimiter
from realtime.netem.conditions import NetworkConditions
from realtime.netem.proxy_pool import LeasedProxy, ProxyPool
from realtime.protocol.origin import origin_of
from realtime.server.quic.start import BEHIND_PROXY, WebTransportOffer
from realtime.server.tap import SECRET, Tap, TapRegistry, TapSubscriber
from realtime.transports.base import Services
from realtime.transports.handler import Handler
from realtime.transports.upgrade import Upgrade
from realtime.web.operations import OperationHandler

log = logging.getLogger(__name__)

# The longest fault that a page may request.
_MAX_FAULT_SECONDS = 60
# Those that we make have 12 characters, 72 random bits.
_LONG_KEY = 12
# Wrong keys are logged once in this time, however many arrive.
_LOG_INTERVAL_SECONDS = 60.0
# A longer URL makes a QR code that a phone cannot read from the last row.
_PATH = re.compile(r"/[!-~]{0,199}")


async def _no_peers() -> Sequence[str]:
    return []


@dataclass(frozen=True, slots=True)
class Lab:
    """What this server offers its pages.

    `lanes` are the ports it listens on; `addresses` are its URLs for other machines; `key` is the
    secret in the lecturer's URL, which `key_check` compares; `plan` is the JSON of a lesson.
    `peers` returns the URLs of the other workers of our cluster.  `webtransport` is what a page
    needs to connect over UDP.
    """

    lanes: tuple[int, ...]
    networks: ProxyPool
    addresses: tuple[str, ...]
    key: str
    key_check: "KeyCheck"
    plan: str = "{}"
    peers: Callable[[], Awaitable[Sequence[str]]] = _no_peers
    webtransport: WebTransportOffer = field(default_factory=WebTransportOffer)


class KeyCheck:
    """Compares a key with ours.  After a few wrong keys, an address must wait before the next one.

    That also holds for the right key if it is short, or the answer would show which key is right.
    Nobody guesses a long one, so a student who sends wrong keys from the lecturer's address does
    not lock the lecturer out.
    """

    def __init__(self, key: str, wrong_per_minute: float) -> None:
        self._key = key.encode()
        self._wrong = RateLimiter(
            wrong_per_minute / 60, wrong_per_minute, "One address", "wrong keys"
        )
        self._logged_at = -math.inf

    def check(self, key: str, address: str, now: float) -> None:
        """Return if `key` is ours; raises `BadKey`, or `TooFast` for an address that guesses."""
        # In constant time: the time of a response must not show how much of a key was right.
        is_right = hmac.compare_digest(key.encode(), self._key)
        if is_right and len(self._key) >= _LONG_KEY:
            return
        self._wrong.check(address, now)
        if is_right:
            return
        self._wrong.take(address, now)
        if now - self._logged_at >= _LOG_INTERVAL_SECONDS:
            self._logged_at = now
            log.warning("a wrong key was sent", extra={"address": address})
        raise errors.BadKey("The key is in the lecturer's URL, which the server prints at start.")


class LabBase(OperationHandler):
    """A handler that also has the `lab`."""

    def initialize(self, services: Services, lab: Lab) -> None:  # type: ignore[override]
        super().initialize(services)
        self.lab = lab

    def require_moderator(self, room: str) -> Grant:
        """Return the grant of a request with the lecturer's key, or a ticket to moderate this room.

        Raises a named error for all others.
        """
        key = self.argument("key", errors.BadKey)
        if key is None and self.services.access.mode == "tickets":
            grant = self.admit()
            grant.require(Action.MODERATE, room)
            return grant
        self.check_key()
        return EVERYTHING

    def check_key(self) -> None:
        """Return if ``?key=`` is the lecturer's key; raises `BadKey` or `TooFast`."""
        key = self.argument("key", errors.BadKey) or ""
        now = asyncio.get_running_loop().time()
        self.lab.key_check.check(key, self.stream.address, now)


class LabHandler(LabBase):
    """Ports, networks, addresses, and the limits that a page may reach."""

    def get(self) -> None:
        limits = self.services.limits
        # A page may only use ports that its policy can name, and that has no IPv6 addresses
        # (host-source, CSP 3 §2.3.1).
        policy = self.services.origin_policy
        nameable = len(policy.ports) < 2 or policy.own_origins(self.request.headers.get("Host"))
        names = ("messages_per_second", "message_burst", "heartbeat_seconds", "history_events")
        self.reply(
            {
                "lanes": self.lab.lanes if nameable else [self.stream.local_address[1]],
                "networks": len(self.lab.networks.ports) if nameable else 0,
                "addresses": self.lab.addresses,
                "access": self.services.access.mode,
                "webtransport": self._describe_webtransport(),
                **{name: getattr(limits, name) for name in names},
            }
        )

    def _describe_webtransport(self) -> Mapping[str, Any]:
        """Describe WebTransport to the page that asks, which `Referer` names.

        A proxy forwards the page and not the UDP port, so the page must be of one of our ports.
        """
        offer, page = self.lab.webtransport, self.request.headers.get("Referer")
        policy = self.services.origin_policy
        if offer.port and page and not policy.may_use_port(origin_of(page), offer.port):
            return {"reason": BEHIND_PROXY}
        return offer.describe()


# --- network conditions --------------------------------------------------------------------------


class _NetworkBase(LabBase):
    def parse_conditions(self) -> NetworkConditions:
        """Parse ``?network=rtt=200ms``; raises `BadNetwork`."""
        try:
            return NetworkConditions.parse(self.argument("network", errors.BadNetwork) or "")
        except ValueError as error:
            raise errors.BadNetwork(f"{error}.") from error

    def show(self, lease: LeasedProxy) -> None:
        """Send what a page needs to use the emulator: its port, and its id for later requests.

        With `udp` the port forwards datagrams as well, to our WebTransport.
        """
        network = str(lease.network)
        self.reply({"id": lease.id, "port": lease.port, "udp": lease.udp, "network": network})


class NetworksHandler(_NetworkBase):
    """POST: lease a network emulator; 503 if all are in use."""

    def post(self) -> None:
        lease = self.lab.networks.acquire(
            self.parse_conditions(), self.stream.address, self.share()
        )
        self.set_status(201)
        self.show(lease)


class NetworkHandler(_NetworkBase):
    """One lease: read it, change its conditions, or release it; 404 if it has ended.

    The id is random: only the page that has the lease knows it.
    """

    def get(self, id: str) -> None:
        self.show(self.lab.networks.find(id))

    def put(self, id: str) -> None:
        lease = self.lab.networks.find(id)
        lease.change(self.parse_conditions())
        self.show(lease)

    def delete(self, id: str) -> None:
        self.lab.networks.release(id)
        self.no_content()


class NetworkFaultHandler(LabBase):
    """Pause a network for some seconds, or disconnect everybody on it."""

    def post(self, id: str, how: str) -> None:
        lease = self.lab.networks.find(id)
        seconds = self.number("seconds", 5, _MAX_FAULT_SECONDS, errors.BadSeconds)
        if how == "pause":
            lease.pause(seconds)
        else:
            lease.disconnect(seconds)
        self.no_content()


# --- for a class ---------------------------------------------------------------------------------


class RoomHandler(LabBase):
    """Reset a room; this needs the lecturer's key."""

    async def delete(self, room: str) -> None:
        room = parse_room(room)
        self.require_moderator(room)
        await self.services.hub.reset(room)
        self.no_content()


class _ModerationHandler(LabBase):
    def moderation(self, room: str) -> Moderation:
        """Return what keeps the rules, if the request may read and change them."""
        self.require_moderator(parse_room(room))
        if self.services.moderation is None:
            raise errors.NotFound("Nobody moderates here; start the server with --access class.")
        return self.services.moderation


class RulesHandler(_ModerationHandler):
    """The rules of a room; needs the key.

    ``{"locked", "approval", "muted": [client, …], "removed": […], "names": [name, …], "wanted"}``
    """

    async def get(self, room: str) -> None:
        rules = await self.moderation(room).read(parse_room(room))
        lists = ("muted", "removed", "names", "wanted")
        self.reply(
            {
                **{"locked": rules.locked, "approval": rules.approval},
                **{name: sorted(getattr(rules, name)) for name in lists},
            }
        )


class RuleHandler(_ModerationHandler):
    """One rule; PUT sets it, DELETE lifts it.

    ``locked`` is for a room: no new members, but those inside stay, and return.  ``approval`` is
    as well: only names that the lecturer approves join and speak, and those in use.  ``muted`` and
    ``removed`` are for a client, where `*` mutes everybody, and ``names`` for a name.
    """

    async def put(self, room: str, rule: str, whose: str | None = None) -> None:
        moderation, room = self.moderation(room), parse_room(room)
        field = self._field(rule, whose)
        changes: dict[str, str | None] = {field: "1"}
        if rule == "locked":
            changes |= {f"inside {one.client}": "1" for one in await self._members(room)}
        elif rule == "approval":
            # A client whose name is shown with a number sends it without.
            for one in await self._members(room):
                changes |= {f"names {one.name}": "1", f"names {without_number(one.name)}": "1"}
        elif rule == "names":
            changes[f"wanted {whose}"] = None
        await moderation.change(room, changes)
        if rule == "removed" and whose is not None:
            await self.services.presence.leave(room, whose)
        self.no_content()

    async def delete(self, room: str, rule: str, whose: str | None = None) -> None:
        moderation, room = self.moderation(room), parse_room(room)
        changes: dict[str, str | None] = {self._field(rule, whose): None}
        rules = await moderation.read(room)
        if rule == "locked":
            changes |= {f"inside {one}": None for one in rules.inside}
        elif rule == "approval":
            changes |= {f"names {one}": None for one in rules.names}
            changes |= {f"wanted {one}": None for one in rules.wanted}
        elif rule == "names":
            changes[f"wanted {whose}"] = None
        await moderation.change(room, changes)
        self.no_content()

    async def _members(self, room: str) -> list[Member]:
        members: list[Member] = []
        while page := await self.services.presence.members(
            room, members[-1].client if members else ""
        ):
            members += page
        return members

    def _field(self, rule: str, whose: str | None) -> str:
        """Return the name of a rule as `Rules.parse` reads it; raises a named error."""
        if whose is None:
            return rule
        if rule == "names":
            return f"{rule} {parse_name(whose, self.services.limits)}"
        return f"{rule} {whose if (rule, whose) == ('muted', EVERYBODY) else parse_client(whose)}"


class QRCodeHandler(LabBase):
    """A QR code of ``?path=`` at our address in the local network, for phones."""

    async def get(self) -> None:
        path = self.argument("path", errors.BadPath) or "/"
        if not _PATH.fullmatch(path):
            raise errors.BadPath("`path` is the part of our URL after the host: /demos/sse.html.")
        if not self.lab.addresses:
            raise errors.NotFound(
                "No other machine can reach this server; start it with --host 0.0.0.0."
            )
        image = io.BytesIO()
        async with self.turn():
            code = segno.make(self.lab.addresses[0].rstrip("/") + path, micro=False)
            code.save(image, kind="svg", light="white", scale=8, xmldecl=False)
        self.set_header("Content-Type", "image/svg+xml")
        self.set_header("Content-Security-Policy", "default-src 'none'")
        self.finish(image.getvalue())


# --- the tap -------------------------------------------------------------------------------------


class TapHandler(Upgrade):
    """``/wire/SECRET``: the traffic that `tap` captures, one record per text frame."""

    transport = "operations"
    _tap: Tap | None = None

    def initialize(self, services: Services, taps: TapRegistry) -> None:  # type: ignore[override]
        Handler.initialize(self, services)
        self._taps = taps

    @property
    def ping_interval(self) -> float:
        return self.services.limits.heartbeat_seconds

    async def get(self, secret: str) -> None:
        if not SECRET.fullmatch(secret):
            raise errors.BadTrace("A secret is 20 to 64 random letters, digits, - or _.")
        self.check_upgrade()
        # Subscribed before the handshake is answered, so that every later request is captured.
        self._owner = self.stream.address, self.share()
        self._tap = self._taps.open(secret, *self._owner)
        self._subscriber = TapSubscriber(lambda frames: self.stream.push(frames, 0))
        self._tap.add(self._subscriber)
        self.stream.drained = self._on_drained
        try:
            await self.upgrade()
        finally:
            if self.get_status() != 101:  # the handshake has failed
                self._leave()

    def _on_drained(self) -> None:
        if self._tap is not None:
            self._tap.unblock(self._subscriber)

    def on_message(self, message: str | bytes) -> None:
        """Messages of a subscriber are ignored."""

    def on_close(self) -> None:
        self._leave()

    def on_connection_close(self) -> None:
        self._leave()
        super().on_connection_close()

    def _leave(self) -> None:
        if self._tap is not None:
            self._tap.remove(self._subscriber)
            self._tap = None
            self._taps.close(*self._owner)
