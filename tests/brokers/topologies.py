"""Real servers that belong together: a master behind three sentinels, or a Redis Cluster.

Every server is a `PrivateRedis` on a free TCP port of this machine, so that the servers find one
another.  `down_after` is the idle time, in milliseconds, after which a server counts as down.
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
from redis.crc import key_slot

from realtime.brokers.redis.process import find_program
from tests.brokers.private_redis import PrivateRedis
from tests.conftest import missing
from tests.ports import free_port

# A start or a change of the topology takes less, even on a slow machine.
SECONDS = 20
# Longer than any machine delays a process: for tests in which no server fails.
NEVER_DOWN = 15_000
# The name of the master in the configuration of Sentinel.
SERVICE = "chat"


def until(condition: Callable[[], bool]) -> None:
    """Check a condition until it holds: for changes without an event to wait for."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the servers do not form the topology"
        time.sleep(0.02)


class Node(PrivateRedis):
    """A server that the others of its topology can reach over TCP."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        super().__init__(
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            # A replica synchronizes as soon as it can.
            *("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *options),
        )

    @property
    def admin(self) -> "Redis":
        """A client for administration commands."""
        return Redis.from_url(self.url, decode_responses=True)

    def is_synced(self) -> bool:
        """Return whether this replica has all data of its master."""
        with self.admin as admin:
            return admin.info("replication").get("master_link_status") == "up"


class Deployment:
    """Several servers that start and stop together."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.url = ""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                self._stack.enter_context(node)
            self._connect()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _connect(self) -> None:
        """Make the running servers one topology."""
        raise NotImplementedError


# --- Sentinel ------------------------------------------------------------------------------------


class _Sentinel:
    """One of three sentinels."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.id = secrets.token_hex(20)
        self._file = folder / f"sentinel-{self.port}.conf"

    def start(self, lines: Sequence[str]) -> "subprocess.Popen[bytes]":
        program = find_program()
        if program is None:
            missing("redis-server (or valkey-server)")
        own = [f"port {self.port}", "bind 127.0.0.1", f"sentinel myid {self.id}"]
        own += [f"dir {self._file.parent}", f"logfile {self._file}.log"]
        self._file.write_text("\n".join([*own, *lines, ""]))
        return subprocess.Popen([str(program), str(self._file), "--sentinel"])

    def is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


class SentinelDeployment(Deployment):
    """A master, two replicas, and three sentinels with a quorum of two."""

    def __init__(self, folder: Path, *options: str, down_after: int = NEVER_DOWN) -> None:
        super().__init__()
        master = Node(*options)
        replicate = ("--replicaof", f"127.0.0.1 {master.port}")
        self.nodes = [master, Node(*options, *replicate), Node(*options, *replicate)]
        self._sentinels = [_Sentinel(folder) for _ in range(3)]
        self._down_after = down_after
        hosts = ",".join(sentinel.address for sentinel in self._sentinels)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}"

    def _connect(self) -> None:
        until(lambda: all(node.is_synced() for node in self.nodes[1:]))
        lines = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.nodes[0].port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {self._down_after}",
            f"sentinel failover-timeout {SERVICE} 5000",
            *(f"sentinel known-replica {SERVICE} 127.0.0.1 {node.port}" for node in self.nodes[1:]),
        ]
        for one in self._sentinels:
            others = [
                f"sentinel known-sentinel {SERVICE} 127.0.0.1 {other.port} {other.id}"
                for other in self._sentinels
                if other is not one
            ]
            process = one.start([*lines, *others])
            self._stack.callback(process.wait, SECONDS)
            self._stack.callback(process.terminate)
        until(lambda: all(sentinel.is_listening() for sentinel in self._sentinels))

    @property
    def master(self) -> Node:
        """The server that the sentinels name as the master."""
        with Redis(port=self._sentinels[0].port, decode_responses=True) as sentinel:
            _, port = sentinel.sentinel_get_master_addr_by_name(SERVICE)
        return next(node for node in self.nodes if node.port == int(port))


# --- Cluster -------------------------------------------------------------------------------------

SLOTS = 16384


class ClusterDeployment(Deployment):
    """Three masters with a third of the slots each, and one replica of each if asked for."""

    def __init__(self, *options: str, replicas: bool = False, down_after: int = NEVER_DOWN) -> None:
        super().__init__()
        count = 6 if replicas else 3
        self.nodes = [
            Node(
                *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
                *("--cluster-node-timeout", str(down_after)),
                # When a third of the slots has no server, the others work.
                *("--cluster-require-full-coverage", "no", *options),
            )
            for _ in range(count)
        ]
        self.masters, self.replicas = self.nodes[:3], self.nodes[3:]
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        self.url = f"redis+cluster://{hosts}"

    def _connect(self) -> None:
        first, *others = [node.admin for node in self.nodes]
        for number, node in enumerate(self.masters):
            node.admin.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            bounds = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            node.admin.execute_command("CLUSTER ADDSLOTSRANGE", *bounds)
        for node in self.nodes[1:]:
            bus = int(node.admin.config_get("cluster-port")["cluster-port"])
            first.execute_command("CLUSTER MEET", "127.0.0.1", node.port, bus)
        until(lambda: all(self._has_met_all(admin) for admin in (first, *others)))
        for master, replica in zip(self.masters, self.replicas, strict=False):
            replica.admin.execute_command("CLUSTER REPLICATE", self.id(master))
        until(lambda: all(node.is_synced() for node in self.replicas))
        until(lambda: all(self._is_complete(admin) for admin in (first, *others)))

    def _has_met_all(self, admin: "Redis") -> bool:
        lines = admin.execute_command("CLUSTER NODES")
        return len([one for one in lines.values() if "handshake" not in one["flags"]]) == len(
            self.nodes
        )

    def _is_complete(self, admin: "Redis") -> bool:
        shards = admin.execute_command("CLUSTER SLOTS")  # first slot, last slot, server, …
        return bool(
            admin.execute_command("CLUSTER INFO")["cluster_state"] == "ok"
            and [len(shard) - 2 for shard in shards] == [len(self.nodes) // 3] * 3
        )

    def id(self, node: Node) -> str:
        return str(node.admin.execute_command("CLUSTER MYID"))

    def master_of(self, room: str) -> Node:
        """Return the master that stores a room at the start."""
        return self.masters[slot_of(room) * 3 // SLOTS]

    def move_slot(self, slot: int, source: Node, target: Node) -> None:
        """Move a slot with its keys, as `redis-cli --cluster reshard` does."""
        self.start_move(slot, source, target)
        self.finish_move(slot, source, target)

    def start_move(self, slot: int, source: Node, target: Node) -> None:
        """From now on, a command with several keys of the slot receives TRYAGAIN or ASK."""
        target.admin.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self.id(source))
        source.admin.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self.id(target))

    def finish_move(self, slot: int, source: Node, target: Node) -> None:
        while keys := source.admin.execute_command("CLUSTER GETKEYSINSLOT", slot, 10):
            destination = ("127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            source.admin.execute_command("MIGRATE", *destination)
        for node in (target, source):
            node.admin.execute_command("CLUSTER SETSLOT", slot, "NODE", self.id(target))


def slot_of(room: str) -> int:
    return int(key_slot(f"rt:{{{room}}}".encode()))
