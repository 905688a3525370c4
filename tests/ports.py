"""Ports for servers that cannot choose one themselves, or that start again at the same one."""

import random
import socket

# Below the range from which Linux takes the ports of outgoing connections (ip_local_port_range).
# While a server restarts, a connection of another test could get its port otherwise.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port that is free at this moment, and stays free unless another test draws it."""
    while True:
        port = random.choice(_PORTS)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
