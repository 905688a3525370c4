"""The configuration of a cluster: the settings of its master, and the `ServerConfig` it shares.

ClusterConfig ─▶ master ─┬─ server, port 6001 ─▶ worker
                         └─ server, port 6002 ─▶ worker
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from realtime.protocol.addresses import parse_address
from realtime.server import sockets
from realtime.server.config import ServerConfig
from realtime.server.forwarded import parse_network


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """What a master needs to know before it starts; raises ValueError if it contradicts itself.

    `server` is what all workers have in common.  The first worker listens on `base_port`, the
    others on the ports after it; 0 takes free ports.  `nginx` is the address and port of an nginx
    in front of them, and `routing` says how it finds a worker.
    """

    server: ServerConfig
    workers: int
    base_port: int = 6001
    status_host: str = "127.0.0.1"
    status_port: int = 6100
    nginx: tuple[str, int] | None = None
    routing: str = "session"

    def __post_init__(self) -> None:
        self.validate()

    @property
    def event_loop(self) -> str:
        """The event loop of the master: its relays to the workers need that of asyncio."""
        has_relays = self.server.fault_controls and self.nginx is not None
        return "asyncio" if has_relays else self.server.loop

    def validate(self) -> None:
        """Raise ValueError, which names the option, if the values contradict each other."""
        if (self.server.port_count, self.server.network_count) != (1, 0):
            raise ValueError(
                "--lanes and --networks are for a single server: a worker has one port"
            )
        if self.server.webtransport_port is not None:
            raise ValueError(
                "--webtransport-port is for a single server: a worker has the number of its port"
            )
        if self.nginx is not None and self.server.tls_certificate is not None:
            raise ValueError(
                "--nginx speaks plain HTTP to the workers: give the certificate to nginx, not to "
                "them"
            )
        if self.nginx is not None and parse_address(sockets.local_host(self.server)) is None:
            raise ValueError("--nginx reaches the workers by address: give --host an IP address")
        if self.base_port + self.workers - 1 > 65535:
            raise ValueError("--base-port: no port follows 65535")

    def worker_configs(
        self, ports: Sequence[int], master: str, page_ports: Sequence[int] = ()
    ) -> list[ServerConfig]:
        """Return the configuration of each worker: the shared one, at its own port.

        `page_ports` are further ports whose pages may use the workers.

        An nginx of ours runs on this machine and reaches a worker by the worker's own address, so
        that is also the address it connects from, and the one to trust.
        """
        trusted = self.server.trust_proxy
        if self.nginx is not None:
            trusted = (*trusted, parse_network(sockets.local_host(self.server)))
        limits = self.server.limits
        # Each worker counts for itself, and who guesses may try all of them.
        share = limits.wrong_keys_per_minute / len(ports)
        shared = replace(
            self.server,
            master=master,
            trust_proxy=trusted,
            page_ports=tuple(page_ports),
            limits=replace(limits, wrong_keys_per_minute=share),
        )
        return [replace(shared, port=port) for port in ports]
