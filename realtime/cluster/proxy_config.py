"""What the configurations of nginx and haproxy share: their values, checked, and their templates.

    browser ──▶ proxy ──┬──▶ worker 6001 ──┐
                        ├──▶ worker 6002 ──┼──▶ Redis
                        └──▶ worker 6003 ──┘

Our own transports need no routing: each request carries its cursor, so any worker can answer it.
A session of SockJS or Socket.IO lives in one worker, and its requests must reach that one: by the
client's address (as in the tutorial), or by the session's id in the request.
"""

import ipaddress
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tornado.template import DictLoader, Template

from realtime.limits import Limits
from realtime.transports.affinity import worker_label

ROUTINGS = ("any", "address", "session")
# Open files of each process of a proxy.
MAX_OPEN_FILES = 32768
# The longest poll and one heartbeat: a worker that is idle for longer does not come back.
_LIMITS = Limits()
READ_SECONDS = _LIMITS.wait_seconds + _LIMITS.heartbeat_seconds

_WORKER = re.compile(r"(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:]+)\]):(\d{1,5})", re.ASCII)
_LISTEN = re.compile(r"(?:(?:[A-Za-z0-9._-]+|\*|\[[0-9A-Fa-f:]+\]):)?(\d{1,5})", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9.*_-]+", re.ASCII)
_PATH = re.compile(r"[^\"\\$\x00-\x1f]+")

_FOLDER = Path(__file__).parent / "templates"
_DIRECTIVE_LINE = re.compile(r"^({%.*%})\n", re.MULTILINE)


def site_values(
    program: str,
    *,
    workers: Sequence[str],
    listen: str | int,
    routing: str,
    name: str,
    open_files: int,
    root_path: str,
) -> dict[str, Any]:
    """Return the values that the templates of all proxies use.

    `workers` are ``host:port`` of each, as the proxy reaches them; `listen` is a port or
    ``address:port``; `name` is the host name of the site; `open_files` is the most that a process
    of the proxy may have; `root_path` is where the site has the workers, as ``/chat``.  Raises
    ValueError, which says what `program` cannot have.
    """
    addresses = [parse_worker(worker) for worker in workers]
    _check(program, addresses, listen, routing, name)
    host, port = addresses[0]
    options = "" if name == "_" else f" --allow-host {name}"
    options += f" --root-path {root_path}" if root_path else ""
    files = min(open_files, MAX_OPEN_FILES)
    return {
        "workers": workers,
        "labels": [worker_label(*address) for address in addresses],
        "routing": routing,
        "port": port,
        "proxy": _proxy_as_seen_by(host, program),
        "options": options,
        "files": files,
        "clients": files // 2,
        "root_path": root_path,
        "listen": listen,
        "heartbeat_seconds": f"{_LIMITS.heartbeat_seconds:g}",
        "wait_seconds": f"{_LIMITS.wait_seconds:g}",
        "idle_seconds": f"{_LIMITS.idle_seconds:g}",
    }


def render(file: str, **values: Any) -> str:
    """Return the text of templates/`file` with these values.

    Nothing is escaped: the checks admit only what a proxy reads as one word.
    """
    text: str = _templates(file).generate(**values).decode()
    return text


def parse_worker(text: str) -> tuple[str, int]:
    """Parse ``host:port`` or ``[host]:port``; raises ValueError."""
    match = _WORKER.fullmatch(text)
    if match is None or not 0 < int(match[3]) < 65536:
        raise ValueError(
            f"{text} is not the address of a worker: write HOST:PORT, like 10.0.0.2:6001"
        )
    return match[1] or match[2], int(match[3])


def quoted_path(file: str | Path, program: str) -> str:
    """Return an absolute path that nginx and haproxy read correctly between double quotes."""
    path = os.path.abspath(file)
    if not _PATH.fullmatch(path):
        raise ValueError(f"{path!r} has a character with a meaning of its own to {program}")
    return path


def _check(
    program: str,
    addresses: Sequence[tuple[str, int]],
    listen: str | int,
    routing: str,
    name: str,
) -> None:
    match = _LISTEN.fullmatch(str(listen))
    if match is None or not 0 < int(match[1]) < 65536:
        raise ValueError(f"{program} cannot listen on {listen}: write a port, or ADDRESS:PORT")
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


def _proxy_as_seen_by(host: str, program: str) -> str:
    return host if host in ("127.0.0.1", "::1") else f"ADDRESS-OF-{program.upper()}"


@cache
def _templates(file: str) -> Template:
    """Compile a template; a line that is only a directive leaves no line behind."""
    files = {path.name: path.read_text("utf-8") for path in _FOLDER.iterdir()}
    texts = {name: _DIRECTIVE_LINE.sub(r"\1", text) for name, text in files.items()}
    return DictLoader(texts, autoescape=None, whitespace="all").load(file)
