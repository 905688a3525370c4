"""Several real servers that belong together: behind three sentinels, or in a Cluster.

Every one is a `PrivateRedis` of its own, on a free port of this machine, for they must find one
another over TCP.  `patience` is after how many milliseconds of silence one is taken for dead.
"""

import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from redis import Redis

from realtime.brokers.redis.process import find_program
from tests.brokers.private_redis import PrivateRedis
from tests.conftest import missing

# Neither a beginning nor a change takes longer, even on a slow machine.
SECONDS = 20
# Above what any machine holds a process up: for a fleet from which nobody is taken.
PATIENT = 15_000
# The name under which the sentinels watch.
NAME = "chat"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], bool]) -> None:
    """Ask again until it is true: for what nobody announces."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, "the fleet does not come together"
        time.sleep(0.02)


class Node(PrivateRedis):
    """A server that others of its fleet can reach."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        super().__init__(
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            # A replica is one as soon as it can be.
            *("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *options),
        )

    @property
    def admin(self) -> "Redis":
        """Somebody with a command line at it."""
        return Redis.from_url(self.url, decode_responses=True)

    def follows(self) -> bool:
        """Whether it is a replica that has heard all that its master had to say."""
        with self.admin as admin:
            return admin.info("replication").get("master_link_status") == "up"


class Fleet:
    """What all fleets share: they end together."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                self._stack.enter_context(node)
            self._gather()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _gather(self) -> None:
        raise NotImplementedError


# --- sentinels -----------------------------------------------------------------------------------


class _Sentinel:
    """One of three; leaving the context ends it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.id = secrets.token_hex(20)
        self._file = folder / f"sentinel-{self.port}.conf"

    def begin(self, lines: Sequence[str]) -> "subprocess.Popen[bytes]":
        program = find_program()
        if program is None:
            missing("redis-server (or valkey-server)")
        own = [f"port {self.port}", "bind 127.0.0.1", f"sentinel myid {self.id}"]
        own += [f"dir {self._file.parent}", f"logfile {self._file}.log"]
        self._file.write_text("\n".join([*own, *lines, ""]))
        return subprocess.Popen([str(program), str(self._file), "--sentinel"])

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


class WatchedFleet(Fleet):
    """A master and two replicas, and three sentinels of whom two decide."""

    def __init__(self, folder: Path, *options: str, patience: int = PATIENT) -> None:
        super().__init__()
        master = Node(*options)
        follow = ("--replicaof", f"127.0.0.1 {master.port}")
        self.nodes = [master, Node(*options, *follow), Node(*options, *follow)]
        self._sentinels = [_Sentinel(folder) for _ in range(3)]
        self._patience = patience
        hosts = ",".join(sentinel.address for sentinel in self._sentinels)
        self.url = f"redis+sentinel://{hosts}/{NAME}"

    def _gather(self) -> None:
        until(lambda: all(node.follows() for node in self.nodes[1:]))
        lines = [
            f"sentinel monitor {NAME} 127.0.0.1 {self.nodes[0].port} 2",
            f"sentinel down-after-milliseconds {NAME} {self._patience}",
            f"sentinel failover-timeout {NAME} 5000",
            *(f"sentinel known-replica {NAME} 127.0.0.1 {node.port}" for node in self.nodes[1:]),
        ]
        for one in self._sentinels:
            others = [
                f"sentinel known-sentinel {NAME} 127.0.0.1 {other.port} {other.id}"
                for other in self._sentinels
                if other is not one
            ]
            process = one.begin([*lines, *others])
            self._stack.callback(process.wait, SECONDS)
            self._stack.callback(process.terminate)
        until(lambda: all(sentinel.answers() for sentinel in self._sentinels))

    @property
    def master(self) -> Node:
        """The one that the sentinels name."""
        with Redis(port=self._sentinels[0].port, decode_responses=True) as sentinel:
            _, port = sentinel.sentinel_get_master_addr_by_name(NAME)
        return next(node for node in self.nodes if node.port == int(port))


# --- a Cluster -----------------------------------------------------------------------------------

SLOTS = 16384


class ShardedFleet(Fleet):
    """Three masters with a third of the slots each, and a replica of each if there are any."""

    def __init__(self, *options: str, replicas: bool = False, patience: int = PATIENT) -> None:
        super().__init__()
        count = 6 if replicas else 3
        self.nodes = [
            Node(
                *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
                *("--cluster-node-timeout", str(patience)),
                # Who has lost a third of the rooms goes on with the others.
                *("--cluster-require-full-coverage", "no", *options),
            )
            for _ in range(count)
        ]
        self.masters, self.replicas = self.nodes[:3], self.nodes[3:]
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        self.url = f"redis+cluster://{hosts}"

    def _gather(self) -> None:
        first, *others = [node.admin for node in self.nodes]
        for number, node in enumerate(self.masters):
            node.admin.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            bounds = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            node.admin.execute_command("CLUSTER ADDSLOTSRANGE", *bounds)
        for node in self.nodes[1:]:
            bus = int(node.admin.config_get("cluster-port")["cluster-port"])
            first.execute_command("CLUSTER MEET", "127.0.0.1", node.port, bus)
        until(lambda: all(self._knows_all(admin) for admin in (first, *others)))
        for master, replica in zip(self.masters, self.replicas, strict=False):
            replica.admin.execute_command("CLUSTER REPLICATE", self.id(master))
        until(lambda: all(node.follows() for node in self.replicas))
        until(lambda: all(self._is_well(admin) for admin in (first, *others)))

    def _knows_all(self, admin: "Redis") -> bool:
        lines = admin.execute_command("CLUSTER NODES")
        return len([one for one in lines.values() if "handshake" not in one["flags"]]) == len(
            self.nodes
        )

    def _is_well(self, admin: "Redis") -> bool:
        shards = admin.execute_command("CLUSTER SLOTS")  # first slot, last slot, server, …
        return bool(
            admin.execute_command("CLUSTER INFO")["cluster_state"] == "ok"
            and [len(shard) - 2 for shard in shards] == [len(self.nodes) // 3] * 3
        )

    def id(self, node: Node) -> str:
        return str(node.admin.execute_command("CLUSTER MYID"))

    def move(self, slot: int, source: Node, target: Node) -> None:
        """Move a slot with all that is in it, as `redis-cli --cluster reshard` does."""
        self.begin_move(slot, source, target)
        self.end_move(slot, source, target)

    def begin_move(self, slot: int, source: Node, target: Node) -> None:
        """From now on, whoever needs several keys of it is told to try again."""
        target.admin.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self.id(source))
        source.admin.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self.id(target))

    def end_move(self, slot: int, source: Node, target: Node) -> None:
        while keys := source.admin.execute_command("CLUSTER GETKEYSINSLOT", slot, 10):
            there = ("127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            source.admin.execute_command("MIGRATE", *there)
        for node in (target, source):
            node.admin.execute_command("CLUSTER SETSLOT", slot, "NODE", self.id(target))
