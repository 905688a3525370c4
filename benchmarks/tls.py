"""``python -m benchmarks.tls``: what TLS adds to a delivery, a poll, a connection and its memory.

The loads of `peers`, and one more: clients that connect, send one request and close.  Each cell is
measured without TLS, with it, and for new connections also with resumed sessions (RFC 8446 §2.2),
ours and nchan's.  The certificate has an ECDSA key; an RSA key makes a full handshake dearer.
"""

import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.competitors.system import BURST, IDLE, PACED, System
from benchmarks.load.connections import READ_BYTES
from benchmarks.load.generator import LoadGenerator
from benchmarks.method import stats
from benchmarks.method.options import positive_int
from benchmarks.method.runner import run
from benchmarks.method.samples import Cell, Factors, Measure, Sample, interval_json, ratios_by_run
from benchmarks.method.testbed import ServerUnderTest, TestbedError
from benchmarks.peers import Peers
from realtime.cli import stdio
from realtime.client.http import Endpoint, ResponseReader

CONNECT = "connect"
LOADS = (PACED, BURST, IDLE, CONNECT)
OFF, FULL, RESUMED = "none", "TLS", "TLS, resumed"
PEERS = (
    "realtime websocket",
    "realtime long_polling",
    "realtime short_polling",
    "nchan websocket",
    "nchan longpoll",
)
# One transport of each system: a connection costs the same by all of them.
CONNECTING = ("realtime websocket", "nchan websocket")
_TIMEOUT_SECONDS = 10.0


class TLS(Peers):
    name = "tls"
    question = "What does TLS cost, in deliveries, polls, memory and new connections?"
    examples = """\
  python -m benchmarks.tls --quick
  python -m benchmarks.tls --loads connect --connections 2000
  python -m benchmarks.tls --loads paced --peers "realtime websocket,realtime sse"

`TLS, resumed` is a client that comes back: it has a session ticket from its last connection.  The
servers are one process each, and use the same certificate, with an ECDSA key (P-256)."""
    factors = ("load", "peer", "tls")
    measures: ClassVar = {
        **{name: Peers.measures[name] for name in ("p50", "cpu_us", "memory_kib", "poll_us")},
        "connect_us": Measure("µs", "of the server's CPU, per new connection with one request"),
    }
    quick: ClassVar = {**Peers.quick, "connections": 50}

    loads = LOADS
    default_peers = PEERS
    numbers = (
        *Peers.numbers,
        ("--connections", positive_int, 500, "new connections in a run, one at a time"),
    )

    def start(self) -> ServerUnderTest:
        self.certificate = self.stack.enter_context(trusted_certificate())
        return super().start()

    def cells(self) -> list[Factors]:
        return [
            {**cell, "tls": tls}
            for cell in super().cells()
            for tls in ((OFF, FULL, RESUMED) if cell["load"] == CONNECT else (OFF, FULL))
        ]

    def takes(self, peer: str, load: str) -> bool:
        return peer in CONNECTING if load == CONNECT else super().takes(peer, load)

    def make_system(self, factors: Factors) -> System:
        system = super().make_system(factors)
        system.certificate = None if factors["tls"] == OFF else self.certificate
        return system

    def measure_system(
        self, system: System, load: LoadGenerator, factors: Factors, rng: random.Random
    ) -> Sample:
        if factors["load"] == CONNECT:
            return self._connect(system, resume=factors["tls"] == RESUMED)
        return super().measure_system(system, load, factors, rng)

    def _connect(self, system: System, *, resume: bool) -> Sample:
        """Connect, send one request and close; one client at a time."""
        endpoint, count = Endpoint(system.url), self.options.connections
        visitor = Visitor(endpoint, system.small_path, resume=resume)
        for _ in range(self.options.warm_up):
            visitor.visit()
        used = system.cost.cpu_seconds()
        resumed = sum(visitor.visit() for _ in range(count))
        used = system.cost.cpu_seconds() - used
        wrong = resumed != (count if resume else 0)
        return Sample({"connect_us": 1e6 * used / count}, miscounted=int(wrong))

    def extra_fields(self, cells: list[Cell]) -> dict[str, Any]:
        """Return every figure as a ratio to the same without TLS, of the same runs."""
        bases = {_without_tls(cell): cell for cell in cells if cell.factors["tls"] == OFF}
        ratios = {
            f"{cell.factors['peer']}, {cell.factors['tls']}, {cell.factors['load']}": {
                name: interval_json(stats.bootstrap(values, self.options.seed))
                for name in self.measures
                if (values := ratios_by_run(cell, bases[_without_tls(cell)], name))
            }
            for cell in cells
            if cell.factors["tls"] != OFF and _without_tls(cell) in bases
        }
        return {"against": "the same without TLS", "ratios": ratios, "notes": self.notes}


def _without_tls(cell: Cell) -> tuple[str, str]:
    return cell.factors["load"], cell.factors["peer"]


class Visitor:
    """A client that connects for each request, and resumes its TLS session if it may."""

    def __init__(self, endpoint: Endpoint, path: str, *, resume: bool) -> None:
        self._endpoint = endpoint
        self._resume = resume
        self._session: ssl.SSLSession | None = None
        self._request = endpoint.build_request("GET", path, {})

    def visit(self) -> bool:
        """Send one request and read its response; return whether the session was resumed."""
        address = self._endpoint.host, self._endpoint.port
        with socket.create_connection(address, _TIMEOUT_SECONDS) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._endpoint.tls is None:
                self._exchange(connection)
                return False
            with self._endpoint.tls.wrap_socket(
                connection, server_hostname=self._endpoint.host, session=self._session
            ) as secured:
                self._exchange(secured)
                # The session ticket arrives with the response.
                self._session = secured.session if self._resume else None
                return bool(secured.session_reused)

    def _exchange(self, connection: socket.socket) -> None:
        connection.sendall(self._request)
        response = ResponseReader()
        while not response.complete:
            data = connection.recv(READ_BYTES)
            if not data:
                response.end()
            response.feed(data)


@contextmanager
def trusted_certificate() -> Iterator[Path]:
    """Yield a file with a self-signed certificate and its key, which this process trusts."""
    program = shutil.which("openssl")
    if program is None:
        raise TestbedError("openssl is missing, which makes a certificate")
    with tempfile.TemporaryDirectory(prefix="tls-") as folder:
        path, key = Path(folder) / "certificate.pem", Path(folder) / "key.pem"
        command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key)]
        subprocess.run([*command, "-out", str(path)], check=True, capture_output=True)
        path.write_text(path.read_text() + key.read_text())
        # OpenSSL reads this when a context is made, here and in the servers' urlopen.
        before = os.environ.get("SSL_CERT_FILE")
        os.environ["SSL_CERT_FILE"] = str(path)
        try:
            yield path
        finally:
            del os.environ["SSL_CERT_FILE"]
            if before is not None:
                os.environ["SSL_CERT_FILE"] = before


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(TLS)))
