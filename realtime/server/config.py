"""The configuration of one server process: every setting, typed, in one frozen value.

The command line and the environment are parsed into it once (`realtime.cli.config`).  A cluster
sends it whole to each of its workers, as JSON:

    realtime --port 8000 …  ─▶ ServerConfig ─▶ serve
    realtime cluster …      ─▶ ServerConfig ── JSON on stdin ─▶ worker ─▶ ServerConfig ─▶ serve
"""

import json
import secrets
from dataclasses import asdict, dataclass, field
from typing import Self

from realtime.limits import Limits
from realtime.server.forwarded import IPNetwork, parse_network


def make_key() -> str:
    """Make a key for the lecturer's page: 72 random bits, short enough for a link."""
    return secrets.token_urlsafe(9)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What one server process needs to know before it starts.

    `port` 0 is a free one; `port_count` more than 1 opens extra ports (``--lanes``), and
    `network_count` as many proxies with a bad network (``--networks``).  `webtransport_port` is the
    UDP port of WebTransport: None means the number of the first TCP port.  `key` opens the
    lecturer's page.  `prefix` starts all names in Redis.  `allow_host` are further host names of
    this server, `trust_proxy` the networks whose `X-Forwarded-For` we believe, `root_path` the path
    below which a proxy has this server, as ``/chat``.  `access` is the mode that says who may do
    what, and `ticket_keys` the file with the keys of mode `tickets`.  `plan` is the JSON of a
    lesson, empty for the one that comes with the server.  `fault_controls` lets the lecturer inject
    faults, see `web.faults`.  `page_ports` are further ports of this machine whose pages may use
    this server.  `master` names the cluster this process belongs to; it is empty outside of one.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    port_count: int = 1
    webtransport: bool = True
    webtransport_port: int | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    hub: str = "auto"
    prefix: str = "rt"
    allow_host: tuple[str, ...] = ()
    trust_proxy: tuple[IPNetwork, ...] = ()
    root_path: str = ""
    key: str = field(default_factory=make_key)
    access: str = "open"
    ticket_keys: str | None = None
    plan: str = ""
    network_count: int = 0
    sockjs_also: tuple[str, ...] = ()
    loop: str = "auto"
    master: str = ""
    fault_controls: bool = False
    page_ports: tuple[int, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def event_loop(self) -> str:
        """The event loop this configuration needs.

        A network proxy delays packets by fractions of a millisecond, and the timers of uvloop have
        whole milliseconds.
        """
        return "asyncio" if self.network_count else self.loop

    def to_json(self) -> str:
        """Write all fields as one JSON object; `from_json` reads it back."""
        return json.dumps(asdict(self) | {"trust_proxy": [str(one) for one in self.trust_proxy]})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse what `to_json` wrote; raises ValueError if it is anything else."""
        try:
            values = json.loads(text)
            values["limits"] = Limits(**values["limits"])
            values["trust_proxy"] = tuple(map(parse_network, values["trust_proxy"]))
            for name in ("allow_host", "sockjs_also", "page_ports"):
                values[name] = tuple(values[name])
            return cls(**values)
        except (TypeError, LookupError) as error:
            raise ValueError(f"this is no configuration of a server: {error}") from error
