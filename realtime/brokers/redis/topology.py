"""Which servers keep the rooms, and how each is reached.

    redis://…            one, for better or worse
    redis+sentinel://…   one at a time: Sentinel says which, and names another when it has died
    redis+cluster://…    many at once: each keeps the rooms whose names hash to its slots

The name of a room stands in braces in every key and channel, so that all of a room is in one slot.
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

# One server over TCP, with TLS or without, or a Unix socket; several, over TCP only.
SCHEMES = (
    *("redis", "rediss", "unix"),
    *("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"),
)
# What a server, the way to it, or the lack of one may raise.
FAILURES = (RedisError, RedisClusterException, OSError)

# A server that does not even let us in by then is not there.
_CONNECT_SECONDS = 0.8
# Of several servers the next is asked so soon, that a frozen one does not cost the whole answer.
_ONE_OF_MANY_SECONDS = 0.25
# Rare questions under way at once; more wait for a connection, and do not open one each.
_CONNECTIONS = 16
_SENTINEL_PORT, _PORT = 26379, 6379


class Servers(Protocol):
    """The servers behind one address; a keeper is the name of one that keeps rooms."""

    # For rare questions: it finds the right server by itself, and tries again.
    questions: Any
    # Before the commands and answers of pub/sub: `S` where channels, too, are in slots.
    prefix: bytes

    async def start(self) -> None:
        """Find the servers; raises one of `FAILURES`, as `look` does."""

    async def look(self) -> None:
        """Find out anew who keeps what."""

    async def moved(self, error: MovedError) -> None:
        """Take note of a slot that has moved."""

    def keepers(self) -> Collection[str]:
        """All that keep rooms, as far as is known."""

    def keeper(self, channel: bytes) -> str:
        """Who keeps a room, by its channel; raises `RedisClusterException` if nobody does."""

    def connect(self, keeper: str) -> AbstractConnection:
        """Make a connection that opens when it is first used, and that never retries by itself."""

    async def close(self) -> None:
        """Drop the connections of `questions`."""


def servers_at(url: str) -> Servers:
    """Read an address; raises `ValueError` if it is none."""
    scheme, plus, kind = url.partition("://")[0].partition("+")
    try:
        if not plus:
            return One(url)
        address = urlsplit(scheme + url.removeprefix(f"{scheme}+{kind}"))
        return Watched(address) if kind == "sentinel" else Sharded(address)
    except (TypeError, RedisClusterException) as error:
        raise ValueError("an option of the address is not known here") from error


def _hosts(address: SplitResult, port: int) -> list[tuple[str, int]]:
    """Split ``host:port,host:port``."""
    parts = [urlsplit(f"//{part}") for part in address.netloc.rpartition("@")[2].split(",")]
    if not all(part.hostname for part in parts):
        raise ValueError("an address without a host")
    return [(part.hostname or "", part.port or port) for part in parts]


def _options(address: SplitResult) -> dict[str, Any]:
    """What is said of every connection: before the ``@``, and after the ``?``."""
    who, at, _ = address.netloc.rpartition("@")
    options = parse_url(f"{address.scheme}://{who}{at}localhost?{address.query}")
    tls = {"ssl": True} if address.scheme == "rediss" else {}
    beside = {"host", "connection_class"}
    return {name: value for name, value in options.items() if name not in beside} | tls


def _questioning() -> dict[str, Any]:
    return {
        "max_connections": _CONNECTIONS,
        "timeout": _CONNECT_SECONDS,
        "retry": Retry(ExponentialBackoff(cap=0.1, base=0.01), 3),
        **_patient(_CONNECT_SECONDS),
    }


def _carrying() -> dict[str, Any]:
    # Never to retry by itself: a subscription renewed behind our back is a hole, and a script that
    # is sent again gets another token.  RESP2, since redis-py spells out every announcement that
    # comes by RESP3 for its own log.
    return {"retry": Retry(NoBackoff(), 0), "protocol": 2, **_patient(_CONNECT_SECONDS)}


def _patient(seconds: float) -> dict[str, Any]:
    # We bound each command, and not each of its reads and writes.
    return {"socket_connect_timeout": seconds, "socket_timeout": None}


def _impatient() -> dict[str, Any]:
    seconds = _ONE_OF_MANY_SECONDS
    return {"socket_connect_timeout": seconds, "socket_timeout": seconds}


# --- one -----------------------------------------------------------------------------------------


class One:
    """One server, wherever it is."""

    prefix = b""

    def __init__(self, url: str) -> None:
        carrying: Any = ConnectionPool.from_url(url, **_carrying())
        self._connect: Callable[[], AbstractConnection] = carrying.make_connection
        self._connect()  # or a strange option would be found out at the first word
        self.questions = Redis.from_pool(BlockingConnectionPool.from_url(url, **_questioning()))

    async def start(self) -> None:
        await self.questions.ping()

    async def look(self) -> None:
        """There is nowhere else to look."""

    async def moved(self, error: MovedError) -> None:
        """A part of a Cluster, addressed as if it were the whole, keeps only its own rooms."""
        raise error

    def keepers(self) -> Collection[str]:
        return ("",)

    def keeper(self, channel: bytes) -> str:
        return ""

    def connect(self, keeper: str) -> AbstractConnection:
        return self._connect()

    async def close(self) -> None:
        await self.questions.aclose()


class Watched:
    """The one that Sentinel names.

    When that is another, nobody speaks to the one before any more, though it may be there again and
    not know yet that it was replaced: all that we have to do with a server, we leave together.
    """

    prefix = b""

    def __init__(self, address: SplitResult) -> None:
        self._name, _, database = unquote(address.path).lstrip("/").partition("/")
        if not self._name:
            raise ValueError("it lacks the name under which Sentinel watches the server")
        self._options = _options(address)
        if database:
            self._options["db"] = int(database)
        # Sentinel has users of its own, and shares only the way in.
        asking = {
            what: self._options.pop(f"sentinel_{what}", None) for what in ("username", "password")
        }
        asking |= {what: value for what, value in self._options.items() if what.startswith("ssl")}
        asking |= {"retry": Retry(NoBackoff(), 0), **_impatient()}
        self.sentinel = Sentinel(_hosts(address, _SENTINEL_PORT), sentinel_kwargs=asking)
        self._kind = SSLConnection if self._options.pop("ssl", False) else Connection
        self._keeper = "localhost:0"  # nobody, until Sentinel was asked
        self.questions = self._questions()
        self.connect(self._keeper)  # or a strange option would be found out at the first word

    def _questions(self) -> "Redis":
        to = {"connection_class": self._kind, **self._to(self._keeper)}
        pool = BlockingConnectionPool(**to, **_questioning())
        return Redis.from_pool(pool)

    def _to(self, keeper: str) -> dict[str, Any]:
        host, _, port = keeper.rpartition(":")
        return {"host": host, "port": int(port), **self._options}

    async def start(self) -> None:
        await self.look()
        await self.questions.ping()

    async def look(self) -> None:
        host, port = await self.sentinel.discover_master(self._name)
        if self._keeper != f"{host}:{port}":
            self._keeper = f"{host}:{port}"
            before, self.questions = self.questions, self._questions()
            await before.aclose()

    async def moved(self, error: MovedError) -> None:
        """Sentinel does not watch a Cluster."""
        raise error

    def keepers(self) -> Collection[str]:
        return (self._keeper,)

    def keeper(self, channel: bytes) -> str:
        return self._keeper

    def connect(self, keeper: str) -> AbstractConnection:
        return self._kind(**self._to(keeper), **_carrying())

    async def close(self) -> None:
        await self.questions.aclose()
        await self.sentinel.aclose()


# --- many ----------------------------------------------------------------------------------------


class Sharded:
    """A Cluster: keys, and the channels of sharded pub/sub, are in 16 384 slots."""

    prefix = b"S"

    def __init__(self, address: SplitResult) -> None:
        if address.path.strip("/"):
            raise ValueError("a Cluster has no databases")
        options = _options(address) | _impatient() | {"protocol": 2}
        hosts = _hosts(address, _PORT)
        self.questions = RedisCluster(
            startup_nodes=[ClusterNode(*host) for host in hosts],
            require_full_coverage=False,  # who is left goes on
            retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 3),
            **options,
        )

    async def start(self) -> None:
        await self.questions.initialize()

    async def look(self) -> None:
        await self.questions.nodes_manager.initialize()

    async def moved(self, error: MovedError) -> None:
        nodes = self.questions.nodes_manager
        if error.slot_id in nodes.slots_cache:
            await nodes.move_slot(error)
        else:  # it was nobody's
            await self.look()

    def keepers(self) -> Collection[str]:
        return {node.name for node in self.questions.get_primaries()}

    def keeper(self, channel: bytes) -> str:
        name: str = self.questions.nodes_manager.get_node_from_slot(
            self.questions.keyslot(channel)
        ).name
        return name

    def connect(self, keeper: str) -> AbstractConnection:
        host, _, port = keeper.rpartition(":")
        node = ClusterNode(host, int(port), **self.questions.connection_kwargs)
        return node.connection_class(**node.connection_kwargs | _carrying())

    async def close(self) -> None:
        await self.questions.aclose()
