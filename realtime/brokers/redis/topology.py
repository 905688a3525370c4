"""Which servers store the rooms, and how we connect to each.

    redis://…            one server (standalone)
    redis+sentinel://…   one master at a time: Sentinel names it, and its successor when it dies
    redis+cluster://…    many at once (Redis Cluster): each stores the rooms of its hash slots

Every key and channel contains the name of its room in braces (a hash tag), so that all keys of a
room are in one slot.
"""

from collections.abc import Callable, Collection
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import MovedError, RedisClusterException, RedisError

# Standalone: TCP with TLS or without, or a Unix socket.  Sentinel and Cluster: TCP only.
SCHEMES = (
    *("redis", "rediss", "unix"),
    *("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"),
)
# Errors of a server, of the connection to it, or of a slot without a server.
FAILURES = (RedisError, RedisClusterException, OSError)

# A server that does not accept a connection in this time counts as down.
_CONNECT_SECONDS = 0.8
# With several servers we try the next one after this time, so that a frozen one does not use up the
# whole time of a command.
_NEXT_SERVER_SECONDS = 0.25
# Connections for rare commands; more commands wait for a free one.
_MAX_CONNECTIONS = 16
_SENTINEL_PORT, _PORT = 26379, 6379


class Topology(Protocol):
    """The servers behind one address; a node is named by a string, such as ``host:port``."""

    # For rare commands: redis-py finds the right server and retries.
    client: Any
    # Precedes pub/sub commands and replies: `S` (sharded pub/sub) where channels have slots.
    prefix: bytes
    # The number of the database: pub/sub ignores it, so the channels contain it.
    database: int

    async def start(self) -> None:
        """Find the servers; raises one of `FAILURES`, as `refresh` does."""

    async def refresh(self) -> None:
        """Ask again which server stores which rooms."""

    async def apply_redirect(self, error: MovedError) -> None:
        """Record the new server of a slot."""

    def node_names(self) -> Collection[str]:
        """Return the names of all servers that store rooms, as far as we know."""

    def node_name(self, channel: bytes) -> str:
        """Return the server of a room, by its channel; raises `RedisClusterException` if none."""

    def connect(self, name: str) -> AbstractConnection:
        """Return a connection that opens when it is first used, and never retries."""

    async def close(self) -> None:
        """Close the connections of `client`."""


def parse_topology(url: str) -> Topology:
    """Parse an address; raises `ValueError` if it is invalid."""
    scheme, plus, kind = url.partition("://")[0].partition("+")
    try:
        if not plus:
            # redis-py ignores a path that is no number, and uses database 0.
            path = urlsplit(url).path.removeprefix("/")
            if scheme != "unix" and path and not (path.isascii() and path.isdecimal()):
                raise ValueError(f"{path!r} is not the number of a database")
            return Standalone(url)
        address = urlsplit(scheme + url.removeprefix(f"{scheme}+{kind}"))
        return SentinelManaged(address) if kind == "sentinel" else ShardedCluster(address)
    except (TypeError, RedisClusterException) as error:
        raise ValueError("the address has an unknown option") from error


def _hosts(address: SplitResult, port: int) -> list[tuple[str, int]]:
    """Split ``host:port,host:port``."""
    parts = [urlsplit(f"//{part}") for part in address.netloc.rpartition("@")[2].split(",")]
    if not all(part.hostname for part in parts):
        raise ValueError("the address has an empty host")
    return [(part.hostname or "", part.port or port) for part in parts]


def _options(address: SplitResult) -> dict[str, Any]:
    """Return the options of every connection: those before the ``@`` and after the ``?``."""
    credentials, at, _ = address.netloc.rpartition("@")
    options = parse_url(f"{address.scheme}://{credentials}{at}localhost?{address.query}")
    tls = {"ssl": True} if address.scheme == "rediss" else {}
    set_elsewhere = {"host", "connection_class"}
    return {name: value for name, value in options.items() if name not in set_elsewhere} | tls


def _client_options() -> dict[str, Any]:
    return {
        "max_connections": _MAX_CONNECTIONS,
        "timeout": _CONNECT_SECONDS,
        "retry": Retry(ExponentialBackoff(cap=0.1, base=0.01), 3),
        **_connect_timeout(_CONNECT_SECONDS),
    }


def _pipeline_options() -> dict[str, Any]:
    # No retries inside redis-py: a subscription that it renews without our knowledge hides a gap,
    # and a script that is sent again needs a new token.  RESP2, because redis-py formats every
    # RESP3 push message for its own debug log.
    return {"retry": Retry(NoBackoff(), 0), "protocol": 2, **_connect_timeout(_CONNECT_SECONDS)}


def _connect_timeout(seconds: float) -> dict[str, Any]:
    # We limit the time of each command, not of each of its reads and writes.
    return {"socket_connect_timeout": seconds, "socket_timeout": None}


def _short_timeouts() -> dict[str, Any]:
    seconds = _NEXT_SERVER_SECONDS
    return {"socket_connect_timeout": seconds, "socket_timeout": seconds}


# --- one server at a time ------------------------------------------------------------------------


class Standalone:
    """One server at a fixed address."""

    prefix = b""

    def __init__(self, url: str) -> None:
        pool: Any = ConnectionPool.from_url(url, **_pipeline_options())
        self._connect: Callable[[], AbstractConnection] = pool.make_connection
        self._connect()  # or an unknown option would raise only at the first command
        self.database = int(pool.connection_kwargs.get("db") or 0)
        self.client = Redis.from_pool(BlockingConnectionPool.from_url(url, **_client_options()))

    async def start(self) -> None:
        await self.client.ping()

    async def refresh(self) -> None:
        """Do nothing: there is only this server."""

    async def apply_redirect(self, error: MovedError) -> None:
        """Raise: this is one node of a Cluster, and stores only its own slots."""
        raise error

    def node_names(self) -> Collection[str]:
        return ("",)

    def node_name(self, channel: bytes) -> str:
        return ""

    def connect(self, name: str) -> AbstractConnection:
        return self._connect()

    async def close(self) -> None:
        await self.client.aclose()


class SentinelManaged:
    """The master that Sentinel names.

    When Sentinel names another, we close everything that belongs to the old one at once.  The old
    master may return, and for a while it does not know that it was replaced.
    """

    prefix = b""

    def __init__(self, address: SplitResult) -> None:
        self._service, _, database = unquote(address.path).lstrip("/").partition("/")
        if not self._service:
            raise ValueError("the address lacks the name of the master: redis+sentinel://host/NAME")
        self._options = _options(address)
        if database:
            self._options["db"] = int(database)
        self.database = int(self._options.get("db") or 0)
        # Sentinel has its own users and passwords; only the TLS options are shared.
        sentinel_options = {
            what: self._options.pop(f"sentinel_{what}", None) for what in ("username", "password")
        }
        sentinel_options |= {
            what: value for what, value in self._options.items() if what.startswith("ssl")
        }
        sentinel_options |= {"retry": Retry(NoBackoff(), 0), **_short_timeouts()}
        self.sentinel = Sentinel(_hosts(address, _SENTINEL_PORT), sentinel_kwargs=sentinel_options)
        self._class = SSLConnection if self._options.pop("ssl", False) else Connection
        self._master = "localhost:0"  # none, until Sentinel has replied
        self.client = self._new_client()
        self.connect(self._master)  # or an unknown option would raise only at the first command

    def _new_client(self) -> "Redis":
        options = {"connection_class": self._class, **self._options_for(self._master)}
        return Redis.from_pool(BlockingConnectionPool(**options, **_client_options()))

    def _options_for(self, name: str) -> dict[str, Any]:
        host, _, port = name.rpartition(":")
        return {"host": host, "port": int(port), **self._options}

    async def start(self) -> None:
        await self.refresh()
        await self.client.ping()

    async def refresh(self) -> None:
        host, port = await self.sentinel.discover_master(self._service)
        if self._master != f"{host}:{port}":
            self._master = f"{host}:{port}"
            old_client, self.client = self.client, self._new_client()
            await old_client.aclose()

    async def apply_redirect(self, error: MovedError) -> None:
        """Raise: Sentinel does not manage a Cluster."""
        raise error

    def node_names(self) -> Collection[str]:
        return (self._master,)

    def node_name(self, channel: bytes) -> str:
        return self._master

    def connect(self, name: str) -> AbstractConnection:
        return self._class(**self._options_for(name), **_pipeline_options())

    async def close(self) -> None:
        await self.client.aclose()
        await self.sentinel.aclose()


# --- many servers --------------------------------------------------------------------------------


class ShardedCluster:
    """Redis Cluster: keys, and the channels of sharded pub/sub, belong to 16 384 hash slots."""

    prefix = b"S"
    database = 0

    def __init__(self, address: SplitResult) -> None:
        if address.path.strip("/"):
            raise ValueError("a Redis Cluster has no numbered databases")
        options = _options(address) | _short_timeouts() | {"protocol": 2}
        hosts = _hosts(address, _PORT)
        self.client = RedisCluster(
            startup_nodes=[ClusterNode(*host) for host in hosts],
            require_full_coverage=False,  # while some slots have no server, the others work
            retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 3),
            **options,
        )

    async def start(self) -> None:
        await self.client.initialize()

    async def refresh(self) -> None:
        await self.client.nodes_manager.initialize()

    async def apply_redirect(self, error: MovedError) -> None:
        nodes = self.client.nodes_manager
        if error.slot_id in nodes.slots_cache:
            await nodes.move_slot(error)
        else:  # the slot had no server
            await self.refresh()

    def node_names(self) -> Collection[str]:
        return {node.name for node in self.client.get_primaries()}

    def node_name(self, channel: bytes) -> str:
        name: str = self.client.nodes_manager.get_node_from_slot(self.client.keyslot(channel)).name
        return name

    def connect(self, name: str) -> AbstractConnection:
        host, _, port = name.rpartition(":")
        node = ClusterNode(host, int(port), **self.client.connection_kwargs)
        return node.connection_class(**node.connection_kwargs | _pipeline_options())

    async def close(self) -> None:
        await self.client.aclose()
