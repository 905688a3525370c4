"""UDP through the proxy: each address of a client has its own socket to the server, as in a NAT.

    client 192.0.2.7:50000 ◀──▶ our UDP port ── up: DatagramLink ──▶ socket :40001 ◀──▶ server
                                            ◀── down: DatagramLink ──

UDP has no connections.  So a flow starts with the first datagram of a client, and ends when none
has passed for a while.  `idle` and `cut` end it as well, and nobody is told: the next datagram of
the client starts another flow.  The server sees it come from another port, where QUIC continues its
connection (RFC 9000 §9).  A proxy that accepts nobody drops the datagrams of its clients.

A flow has no task: one timer per direction waits for what is due next.  Where a queue is full, here
or in the kernel, datagrams are dropped, as a router does.
"""

import asyncio
import math
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, Protocol

from realtime.netem.conditions import NetworkConditions
from realtime.netem.link import DatagramLink
from realtime.netem.tunnel import Direction
from realtime.netem.tunnel_registry import SocketAddress

# Flows that one proxy has at most: UDP shows no end, and anybody can invent addresses of clients.
MAX_FLOWS = 1_000
# Seconds without a datagram after which a flow ends.  RFC 4787 §4.3 wants two minutes from a NAT;
# QUIC expects half of this (RFC 9000 §10.1.2), and the sockets of those who left are free again.
_IDLE_SECONDS = 60.0
# Datagrams that are read at once, before other connections get their turn.
_READ_BATCH = 32
# The longest datagram that IP can carry.
_MAX_DATAGRAM_BYTES = 65_535


class FlowOwner(Protocol):
    """What flows need from the proxy that they belong to."""

    @property
    def network(self) -> NetworkConditions:
        """The conditions for datagrams that are read now."""

    @property
    def paused(self) -> bool:
        """Whether nothing may pass."""

    @property
    def accepting(self) -> bool:
        """Whether datagrams of clients are read at all; else they are dropped."""

    @property
    def max_held_bytes(self) -> int:
        """How much one direction may hold now."""

    def flow_opened(self, flow: "Flow") -> bool:
        """A client has sent its first datagram; return False if it may have no flow."""

    def flow_connected(self, flow: "Flow") -> None:
        """The datagrams of a flow will reach the server from its `local_address`."""

    def flow_closed(self, flow: "Flow") -> None:
        """A flow has ended that was opened."""

    def count(self, data: bytes, direction: Direction) -> None:
        """A datagram was read."""

    def random(self, direction: Direction) -> Random:
        """Return the source of chance for a new link."""


class DatagramProxy:
    """Forwards between the clients of `sockets` and the server at `target`, an IP address and port.

    The sockets are bound already, and do not block; `close` closes them.
    """

    def __init__(
        self, owner: FlowOwner, target: SocketAddress, sockets: Sequence[socket.socket]
    ) -> None:
        self._owner = owner
        self._target = target
        self._sockets = sockets
        self._flows: dict[tuple[socket.socket, Any], Flow] = {}
        for one in sockets:
            asyncio.get_running_loop().add_reader(one, self._receive, one)

    @property
    def flows(self) -> Sequence["Flow"]:
        return list(self._flows.values())

    @property
    def flow_count(self) -> int:
        return len(self._flows)

    def reset(self) -> None:
        """Drop all flows, and what is on its way."""
        for flow in self.flows:
            flow.close()

    def close(self) -> None:
        self.reset()
        for one in self._sockets:
            asyncio.get_running_loop().remove_reader(one)
            one.close()

    def _receive(self, ours: socket.socket) -> None:
        for _ in range(_READ_BATCH):
            try:
                data, client = ours.recvfrom(_MAX_DATAGRAM_BYTES)
            except OSError:  # there are no more
                return
            if not self._owner.accepting:
                continue
            flow = self._flows.get((ours, client)) or self._open(ours, client)
            if flow is not None:
                flow.up.received(data)

    def _open(self, ours: socket.socket, client: Any) -> "Flow | None":
        """Return a new flow; None if it may not have one, and then its datagram is dropped."""
        key = ours, client
        flow = Flow(
            self._owner, str(client[0]), partial(_send_to, ours, client), partial(self._forget, key)
        )
        if len(self._flows) >= MAX_FLOWS or not self._owner.flow_opened(flow):
            return None
        self._flows[key] = flow
        try:
            flow.connect(self._target)
        except OSError:  # no open file is left, or there is no route
            flow.close()
            return None
        return flow

    def _forget(self, key: tuple[socket.socket, Any]) -> None:
        self._owner.flow_closed(self._flows.pop(key))


def _send_to(ours: socket.socket, client: Any, data: bytes) -> None:
    ours.sendto(data, client)


class Flow:
    """The datagrams of one address of a client: a socket to the server, and both directions."""

    def __init__(
        self,
        owner: FlowOwner,
        client_address: str,
        reply: Callable[[bytes], object],
        closed: Callable[[], None],
    ) -> None:
        self.owner = owner
        self.client_address = client_address
        self.local_address: SocketAddress = ("", 0)  # none, before `connect`
        self._reply = reply
        self._closed = closed
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connect(self, target: SocketAddress) -> None:
        """Open the socket to the server; raises OSError if that is not possible."""
        self._opened = self._active = now = _now()
        up, down = self.owner.random("up"), self.owner.random("down")
        self.up = _Direction(self, "up", DatagramLink(now, up), self._send)
        self.down = _Direction(self, "down", DatagramLink(now, down), self._reply)
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(target)  # UDP: this sends nothing
        self.local_address = self._socket.getsockname()[:2]
        self.owner.flow_connected(self)
        asyncio.get_running_loop().add_reader(self._socket, self._receive)
        self.check_deadlines()

    def close(self) -> None:
        """End the flow, and drop what is on its way."""
        self._stop_timer()
        self.up.close()
        self.down.close()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        self._closed()

    def resume(self) -> None:
        self.touch()
        self.check_deadlines()
        self.up.run()
        self.down.run()

    def touch(self) -> None:
        """Restart the idle timeout: a datagram has passed."""
        self._active = _now()

    def check_deadlines(self) -> None:
        """Close the flow if it is time; else check again at the next deadline."""
        self._stop_timer()
        network, now = self.owner.network, _now()
        idle = min(network.idle_timeout or math.inf, _IDLE_SECONDS)
        # A paused flow is not idle: `resume` promises that nothing was lost.
        end = now + idle if self.owner.paused else self._active + idle
        if network.reset_after is not None:
            end = min(end, self._opened + network.reset_after)
        if now >= end:
            self.close()
        else:
            self._timer = asyncio.get_running_loop().call_at(end, self.check_deadlines)

    def _receive(self) -> None:
        assert self._socket is not None
        for _ in range(_READ_BATCH):
            try:
                data = self._socket.recv(_MAX_DATAGRAM_BYTES)
            except OSError:  # there are no more, or the server's port is closed (ICMP)
                return
            self.down.received(data)

    def _send(self, data: bytes) -> None:
        if self._socket is not None:
            self._socket.send(data)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Direction:
    """One direction of a flow: a datagram is sent when the link has it due."""

    def __init__(
        self, flow: Flow, name: Direction, link: DatagramLink, send: Callable[[bytes], object]
    ) -> None:
        self._flow = flow
        self._name = name
        self._link = link
        self._send = send
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None

    @property
    def held(self) -> int:
        """Bytes of memory in use for datagrams on their way."""
        return self._link.held

    def received(self, data: bytes) -> None:
        owner = self._flow.owner
        self._flow.touch()
        owner.count(data, self._name)
        if self.held >= owner.max_held_bytes:
            return
        self._link.enqueue(data, owner.network, _now())
        # A late datagram can be due after the next one.
        if self._timer is None or self._timer_at != self._link.next_due:
            self.run()

    def run(self) -> None:
        """Send what is due, and set a timer for the rest."""
        self._stop_timer()
        if self._flow.owner.paused:
            return
        while (data := self._link.pop_due(_now())) is not None:
            with suppress(OSError):  # the kernel's queue is full, or the server's port is closed
                self._send(data)
        self._timer_at = self._link.next_due
        if self._timer_at is not None:
            self._timer = asyncio.get_running_loop().call_at(self._timer_at, self.run)

    def close(self) -> None:
        self._stop_timer()
        self._link.clear()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _now() -> float:
    return asyncio.get_running_loop().time()
