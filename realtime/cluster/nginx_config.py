"""The configuration of nginx in front of several workers, with the reason beside each line.

    browser ──▶ nginx ──┬──▶ worker 6001 ──┐
                        ├──▶ worker 6002 ──┼──▶ Redis
                        └──▶ worker 6003 ──┘

Our own transports need no routing: each request carries its cursor, so any worker can answer it.
A session of SockJS or Socket.IO lives in one worker, and its requests must reach that one: by the
client's address (as in the tutorial), or by the session's id in the request.

templates/nginx.conf is the text; here its values are checked.
"""

import ipaddress
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tornado.template import DictLoader, Template

from realtime.limits import Limits
from realtime.transports.affinity import worker_label

ROUTINGS = ("any", "address", "session")
# The longest poll and one heartbeat: a worker that is idle for longer does not come back.
_LIMITS = Limits()
# Open files of each process of nginx.
MAX_OPEN_FILES = 32768
READ_SECONDS = _LIMITS.wait_seconds + _LIMITS.heartbeat_seconds

_WORKER = re.compile(r"(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:]+)\]):(\d{1,5})", re.ASCII)
_LISTEN = re.compile(r"(?:(?:[A-Za-z0-9._-]+|\*|\[[0-9A-Fa-f:]+\]):)?(\d{1,5})", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9.*_-]+", re.ASCII)
_PATH = re.compile(r"[^\"\\$\x00-\x1f]+")

_FOLDER = Path(__file__).parent / "templates"
_DIRECTIVE_LINE = re.compile(r"^({%.*%})\n", re.MULTILINE)


@cache
def _template() -> Template:
    """Compile templates/nginx.conf; a line that is only a directive leaves no line behind."""
    files = {path.name: path.read_text("utf-8") for path in _FOLDER.glob("*.conf")}
    texts = {name: _DIRECTIVE_LINE.sub(r"\1", text) for name, text in files.items()}
    # Nothing is escaped: `_check` and `_path` admit only what nginx reads as one word.
    return DictLoader(texts, autoescape=None, whitespace="all").load("nginx.conf")


def configuration(
    *,
    workers: Sequence[str],
    listen: str | int = 80,
    routing: str = "any",
    tls: tuple[str | Path, str | Path] | None = None,
    name: str = "_",
    buffering: bool = False,
    read_seconds: float = READ_SECONDS,
    open_files: int = MAX_OPEN_FILES,
    root_path: str = "",
) -> str:
    """Return the text of a configuration file for ``nginx -p DIR -c FILE``.

    `workers` are ``host:port`` of each, as nginx reaches them; `listen` is a port or
    ``address:port``; `tls` are the files of a certificate with its chain and of its key; `name` is
    the host name of the site.  `buffering` and `read_seconds` show what a proxy does that was not
    set up for streams.  `open_files` is the most that each process may have.  `root_path` is where
    the site has the workers, as ``/chat``.  Raises ValueError, which says what cannot be written.
    """
    addresses = [parse_worker(worker) for worker in workers]
    _check(addresses, listen, routing, name)
    files = min(open_files, MAX_OPEN_FILES)
    host, port = addresses[0]
    root = re.escape(root_path)
    options = "" if name == "_" else f" --allow-host {name}"
    options += f" --root-path {root_path}" if root_path else ""
    return (
        _template()
        .generate(
            workers=workers,
            labels=[worker_label(*address) for address in addresses],
            routing=routing,
            port=port,
            proxy=_nginx_as_seen_by(host),
            options=options,
            files=files,
            clients=files // 2,
            root_path=root_path,
            root=root,
            # The workers answer both /chat and /chat/…, but not /chats.
            everything=f"~ ^{root}(?:/|$)" if root_path else "/",
            listen=listen,
            server_name=name,
            tls=tls and [_path(file) for file in tls],
            redirect=tls is not None and str(listen) == "443",
            buffering=buffering,
            heartbeat_seconds=f"{_LIMITS.heartbeat_seconds:g}",
            wait_seconds=f"{_LIMITS.wait_seconds:g}",
            read_seconds=f"{read_seconds:g}",
            idle_seconds=f"{_LIMITS.idle_seconds:g}",
        )
        .decode()
    )


def parse_worker(text: str) -> tuple[str, int]:
    """Parse ``host:port`` or ``[host]:port``; raises ValueError."""
    match = _WORKER.fullmatch(text)
    if match is None or not 0 < int(match[3]) < 65536:
        raise ValueError(
            f"{text} is not the address of a worker: write HOST:PORT, like 10.0.0.2:6001"
        )
    return match[1] or match[2], int(match[3])


def _check(
    addresses: Sequence[tuple[str, int]], listen: str | int, routing: str, name: str
) -> None:
    match = _LISTEN.fullmatch(str(listen))
    if match is None or not 0 < int(match[1]) < 65536:
        raise ValueError(f"nginx cannot listen on {listen}: write a port, or ADDRESS:PORT")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name} is not a host name: write one like chat.example.org")
    if routing not in ROUTINGS:
        raise ValueError(f"{routing} is not a routing: choose one of {', '.join(ROUTINGS)}")
    if not addresses or len(set(addresses)) < len(addresses):
        raise ValueError("there must be at least one worker, and none of them twice")
    if routing == "session":
        _check_labels(addresses)


def _check_labels(addresses: Sequence[tuple[str, int]]) -> None:
    for host, _ in addresses:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(
                f"{host} is a name: with --routing session, write each worker by its IP address, "
                "since the ids of its sessions start with a digest of it"
            ) from None
    if len({worker_label(*address) for address in addresses}) < len(addresses):
        raise ValueError("two of these workers have the same label: change the port of one")


def _nginx_as_seen_by(host: str) -> str:
    return host if host in ("127.0.0.1", "::1") else "ADDRESS-OF-NGINX"


def _path(file: str | Path) -> str:
    """Return an absolute path that nginx reads correctly between quotes."""
    path = os.path.abspath(file)
    if not _PATH.fullmatch(path):
        raise ValueError(f"{path!r} has a character with a meaning of its own to nginx")
    return path
