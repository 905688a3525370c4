"""A client machine that disappears: run by ``unshare --map-root-user --net``.

In a private network namespace, a server and, at the other end of a virtual cable, a client with one
reader per streaming transport.  Then the link goes down: no FIN, no RST.  The exit status says
whether the server noticed.  See test_stopped_readers.py.
"""

import asyncio
import subprocess
import sys

from realtime.client.http import get_json
from tests.robustness.frames import HANDSHAKE
from tests.robustness.http_client import get
from tests.server_process import Server
from tests.transports.readers import OURS

STREAMS = [transport for transport in OURS if not transport.endswith("polling")]
SERVER_ADDRESS, CLIENT_ADDRESS = "10.253.71.1", "10.253.71.2"
SECONDS = 30
# Waits for its network, then opens each stream and reads.
CLIENT = """
import socket
print("ready", flush=True)
host, port, *requests = eval(input())
sockets = []
for request in requests:
    sockets.append(socket.create_connection((host, port), timeout=10))
    sockets[-1].sendall(request)
    assert sockets[-1].recv(9) == b"HTTP/1.1 "
print("all open", flush=True)
for one in sockets:
    one.settimeout(None)
    while one.recv(65536): pass
"""


def run(command: str) -> None:
    subprocess.run(command.split(), check=True)


def connect_networks(far: int) -> None:
    """Connect the network namespace of process `far` with ours."""
    run("ip link set lo up")
    run(f"ip link add near type veth peer name far netns {far}")
    run(f"ip addr add {SERVER_ADDRESS}/30 dev near")
    run("ip link set near up")
    run(f"nsenter --target {far} --net ip addr add {CLIENT_ADDRESS}/30 dev far")
    run(f"nsenter --target {far} --net ip link set far up")


async def until_open(server: Server, count: int) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            rows = (await get_json(f"http://127.0.0.1:{server.port}", "/wire"))["transports"]
            if [rows.get(transport, {"open": 0})["open"] for transport in STREAMS] == [count] * 4:
                return
            await asyncio.sleep(0.05)


def main() -> None:
    far = subprocess.Popen(
        ["unshare", "--net", sys.executable, "-c", CLIENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert far.stdin is not None
    assert far.stdout is not None
    try:
        assert far.stdout.readline() == "ready\n"
        connect_networks(far.pid)
        options = ("--heartbeat-seconds", "0.3", "--write-deadline-seconds", "1")
        with Server("--hub", "memory", "--host", "0.0.0.0", *options) as server:
            requests = [
                get(f"/rooms/r/{name}", f"Host: {SERVER_ADDRESS}", *HANDSHAKE) for name in STREAMS
            ]
            far.stdin.write(f"{(SERVER_ADDRESS, server.port, *requests)!r}\n")
            far.stdin.flush()
            assert far.stdout.readline() == "all open\n"
            asyncio.run(until_open(server, 1))
            run(f"nsenter --target {far.pid} --net ip link set far down")
            asyncio.run(until_open(server, 0))
    finally:
        far.kill()


if __name__ == "__main__":
    main()
