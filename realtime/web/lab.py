"""What the demo pages ask for beside the chat: a tap, a bad network, a picture of our address."""

import hmac
import io
import re
from dataclasses import dataclass

import segno

from realtime import errors
from realtime.core.events import parse_room
from realtime.netem.conditions import NetworkConditions
from realtime.netem.proxy_pool import LeasedProxy, ProxyPool
from realtime.protocol.websocket_frames import text_frame
from realtime.server.tap import SECRET, Tap, TapRegistry, TapSubscriber
from realtime.transports.base import Services
from realtime.transports.handler import Handler
from realtime.transports.upgrade import Upgrade
from realtime.web.operations import OperationHandler

# As long as anybody may pull a plug, or wait for it.
_MOST_SECONDS = 60
# A QR code that a phone can read from the last row holds no more.
_PATH = re.compile(r"/[!-~]{0,199}")


@dataclass(frozen=True, slots=True)
class Lab:
    """What this server has for its pages.

    `lanes` are the ports it listens on; `addresses` are the URLs by which other machines reach it;
    `key` is what a lecturer knows.
    """

    lanes: tuple[int, ...]
    networks: ProxyPool
    addresses: tuple[str, ...]
    key: str


class _LabHandler(OperationHandler):
    def initialize(self, services: Services, lab: Lab) -> None:  # type: ignore[override]
        super().initialize(services)
        self.lab = lab


class LabHandler(_LabHandler):
    """What there is here: ports, networks, addresses, and the limits that a page may meet."""

    def get(self) -> None:
        limits = self.services.limits
        names = ("messages_per_second", "message_burst", "heartbeat_seconds", "history_events")
        self.reply(
            {
                "lanes": self.lab.lanes,
                "networks": len(self.lab.networks.ports),
                "addresses": self.lab.addresses,
                **{name: getattr(limits, name) for name in names},
            }
        )


# --- bad networks --------------------------------------------------------------------------------


class _NetworkHandler(_LabHandler):
    def asked_network(self) -> NetworkConditions:
        """Read ``?network=rtt=200ms``; raises `BadNetwork`."""
        try:
            return NetworkConditions.parse(self.argument("network", errors.BadNetwork) or "")
        except ValueError as error:
            raise errors.BadNetwork(f"{error}.") from error

    def show(self, loan: LeasedProxy) -> None:
        self.reply({"id": loan.id, "port": loan.port, "network": str(loan.network)})


class NetworksHandler(_NetworkHandler):
    def post(self) -> None:
        loan = self.lab.networks.lend(self.asked_network())
        self.set_status(201)
        self.show(loan)


class NetworkHandler(_NetworkHandler):
    def get(self, id: str) -> None:
        self.show(self.lab.networks.find(id))

    def put(self, id: str) -> None:
        loan = self.lab.networks.find(id)
        loan.change(self.asked_network())
        self.show(loan)

    def delete(self, id: str) -> None:
        self.lab.networks.take_back(id)
        self.no_content()


class NetworkFaultHandler(_LabHandler):
    """Stop a network for some seconds, in one of two ways."""

    def post(self, id: str, how: str) -> None:
        loan = self.lab.networks.find(id)
        seconds = self.number("seconds", 5, _MOST_SECONDS, errors.BadSeconds)
        if how == "pause":
            loan.pause(seconds)
        else:
            loan.unplug(seconds)
        self.no_content()


# --- the class -----------------------------------------------------------------------------------


class RoomHandler(_LabHandler):
    """Begin a room anew, for whoever has the lecturer's key."""

    async def delete(self, room: str) -> None:
        room = parse_room(room)
        key = self.argument("key", errors.BadKey) or ""
        if not hmac.compare_digest(key.encode(), self.lab.key.encode()):
            raise errors.BadKey("The key is in the lecturer's address, which the server printed.")
        await self.services.hub.reset(room)
        self.no_content()


class QRCodeHandler(_LabHandler):
    """Our address in the local network, for phones: a picture of ``?path=``."""

    def get(self) -> None:
        path = self.argument("path", errors.BadPath) or "/"
        if not _PATH.fullmatch(path):
            raise errors.BadPath("`path` is what follows the host in one of our URLs: /demos/…")
        if not self.lab.addresses:
            raise errors.NotFound("No other machine reaches this server; see --host.")
        picture = io.BytesIO()
        code = segno.make(self.lab.addresses[0].rstrip("/") + path, micro=False)
        code.save(picture, kind="svg", light="white", scale=8, xmldecl=False)
        self.set_header("Content-Type", "image/svg+xml")
        self.set_header("Content-Security-Policy", "default-src 'none'")
        self.finish(picture.getvalue())


# --- the tap -------------------------------------------------------------------------------------


class TapHandler(Upgrade):
    """``/wire/SECRET``: what `tap` copies, a piece per text frame."""

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
            raise errors.BadTrace("A secret is 20 to 64 letters, digits, - or _, at random.")
        self.check_upgrade()
        # Before the handshake is answered: what is asked after that is seen.
        self._watcher = TapSubscriber(self._tell)
        self._tap = self._taps.open(secret)
        self._tap.subscribers.add(self._watcher)
        await self.upgrade()

    def _tell(self, pieces: list[str]) -> bool:
        if self._tap is None:
            return False
        return self.stream.push(b"".join(text_frame(piece.encode()) for piece in pieces), 0)

    def on_message(self, message: str | bytes) -> None:
        """What a watcher says is nothing to us."""

    def on_close(self) -> None:
        self._leave()

    def on_connection_close(self) -> None:
        self._leave()
        super().on_connection_close()

    def _leave(self) -> None:
        if self._tap is not None:
            self._watcher.close()
            self._tap.subscribers.discard(self._watcher)
            self._tap = None
