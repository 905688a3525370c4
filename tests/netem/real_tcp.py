"""The kernel's own TCP over a network that loses packets: what `link.py` is compared with.

    unshare --net python -m tests.netem.real_tcp RTT LOSS INTERVAL BURST CONNECTIONS MESSAGES

It makes a network interface in user space (TUN), which delays each packet by half of the round
trip, or loses it.  What is sent to 10.0.0.2 comes back to 10.0.0.1 as from there: so both ends are
sockets of this process, and the kernel speaks to itself.  One end sends small messages at a fixed
interval, BURST at once, each in a segment of its own.  The output is JSON: the seconds that each
message took, but for those before the losses.

It needs the right to make an interface, which root has, and a network namespace for it alone.
"""

import asyncio
import fcntl
import json
import os
import random
import socket
import struct
import sys
from contextlib import suppress

# <linux/if_tun.h>, <linux/if.h> and <linux/sockios.h>
_TUNSETIFF, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x400454CA, 0x8914, 0x8916, 0x891C
_IFF_TUN, _IFF_NO_PI, _IFF_UP = 0x0001, 0x1000, 0x0001

_HERE, _THERE = "10.0.0.1", "10.0.0.2"
_NAME = b"lossy0"
_MESSAGE_BYTES = 100
# Messages before the first loss, so that TCP knows the round trip.
_WARM_UP = 20


class LossyInterface:
    """Returns the packets of an interface to it, with both addresses exchanged.

    The checksums of IP and TCP are sums, so they stay right.
    """

    def __init__(self, rtt: float, seed: int) -> None:
        self.loss = 0.0
        self._transit = rtt / 2
        self._random = random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self._file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self._file, _TUNSETIFF, struct.pack("16sH22x", _NAME, _IFF_TUN | _IFF_NO_PI))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for request, address in ((_SIOCSIFADDR, _HERE), (_SIOCSIFNETMASK, "255.255.255.0")):
                sockaddr = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
                fcntl.ioctl(control, request, struct.pack("16s24s", _NAME, sockaddr))
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", _NAME, _IFF_UP))
        self._loop.add_reader(self._file, self._read)

    def _read(self) -> None:
        while True:
            try:
                packet = os.read(self._file, 2_000)
            except BlockingIOError:
                return
            if packet[0] >> 4 == 4 and self._random.random() >= self.loss:
                back = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
                self._loop.call_later(self._transit, os.write, self._file, back)


class Receiver(asyncio.Protocol):
    """Notes when each message has arrived; they have all the same length."""

    def __init__(self) -> None:
        self.arrived: list[float] = []
        self._bytes = 0

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        new = self._bytes // _MESSAGE_BYTES - len(self.arrived)
        self.arrived += [asyncio.get_running_loop().time()] * new


class Sender(asyncio.Protocol):
    """The other end, which the receiver has connected to."""

    def __init__(self, senders: "asyncio.Queue[Sender]") -> None:
        self._senders = senders

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.peer = transport.get_extra_info("peername")[1]
        _use_cubic(transport)
        self._senders.put_nowait(self)

    async def send(self, interval: float, burst: int, count: int) -> list[float]:
        """Send messages, the first one at a random time; return when."""
        loop = asyncio.get_running_loop()
        begin, sent = loop.time() + random.uniform(0, interval), []
        for number in range(count):
            if number % burst == 0:
                await asyncio.sleep(begin + number // burst * interval - loop.time())
            sent.append(loop.time())
            self.transport.write(b"x" * _MESSAGE_BYTES)
        return sent


def _use_cubic(transport: asyncio.Transport) -> None:
    """Choose the congestion control that most machines use; asyncio has set TCP_NODELAY."""
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")


async def main(
    rtt: float, loss: float, interval: float, burst: int, connections: int, messages: int
) -> None:
    loop = asyncio.get_running_loop()
    interface = LossyInterface(rtt, seed=1)
    senders: asyncio.Queue[Sender] = asyncio.Queue()
    await loop.create_server(lambda: Sender(senders), _HERE, 9000, backlog=connections)
    opened = await asyncio.gather(
        *(loop.create_connection(Receiver, _THERE, 9000) for _ in range(connections))
    )
    receivers = {one.get_extra_info("sockname")[1]: receiver for one, receiver in opened}
    accepted = [await senders.get() for _ in opened]
    await asyncio.gather(*(one.send(min(interval, rtt), 1, _WARM_UP) for one in accepted))
    await asyncio.sleep(2 * rtt)
    interface.loss = loss
    sent = await asyncio.gather(*(one.send(interval, burst, messages) for one in accepted))
    interface.loss = 0
    for sender in accepted:
        while len(receivers[sender.peer].arrived) < _WARM_UP + messages:
            await asyncio.sleep(0.05)
    delays = [
        arrived - at
        for sender, times in zip(accepted, sent, strict=True)
        for at, arrived in zip(times, receivers[sender.peer].arrived[_WARM_UP:], strict=True)
    ]
    json.dump(delays, sys.stdout)


if __name__ == "__main__":
    # A network that stands still for a while makes the timeouts of TCP longer.
    with suppress(PermissionError):
        os.nice(-15)
    asyncio.run(main(*map(float, sys.argv[1:4]), *map(int, sys.argv[4:])))
