"""The configuration of nginx in front of several workers, with the reason beside each line.

    browser ──▶ nginx ──┬──▶ worker 6001 ──┐
                        ├──▶ worker 6002 ──┼──▶ Redis
                        └──▶ worker 6003 ──┘

Our own transports need no routing at all: each request says with its cursor where it stands, so
any worker can answer it.  A session of SockJS or Socket.IO lives in one worker, and has to be led
there: by its client's address (as in the article), or by what its requests say of the session.
"""

import argparse
import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import indent

from realtime.limits import Limits
from realtime.transports.affinity import worker_label

HELP = "print a configuration of nginx for several workers, with the reason beside each line"

ROUTINGS = ("any", "address", "session")
# The longest poll and one heartbeat: whoever is silent for longer is not coming back.
_LIMITS = Limits()
READ_SECONDS = _LIMITS.wait_seconds + _LIMITS.heartbeat_seconds

_WORKER = re.compile(r"(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:]+)\]):(\d{1,5})", re.ASCII)
_LISTEN = re.compile(r"(?:(?:[A-Za-z0-9._-]+|\*|\[[0-9A-Fa-f:]+\]):)?(\d{1,5})", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9.*_-]+", re.ASCII)
_PATH = re.compile(r"[^\"\\$\x00-\x1f]+")

_MAIN = """\
# For nginx 1.22 or newer, by `realtime nginx`.  To try it, as anybody:
#
#     mkdir -p run && nginx -e stderr -p run -c FILE -t && nginx -e stderr -p run -c FILE
#
# The workers must know that nginx speaks for others, and by which name browsers ask for them:
#
#     realtime --port {port} --trust-proxy {proxy}{allowed} --hub redis://…
#
# From inside a container or behind a NAT, a worker must be written here by its own address.

# One process for each core; each of them accepts connections.
worker_processes auto;

# A client costs two descriptors, one to it and one to its worker.  Above the limit of the user,
# root or systemd (LimitNOFILE) must allow it; nginx says so in its log if it may not.
worker_rlimit_nofile 65536;

# On a reload the old processes go on until their last client has gone, who may have a stream for
# the whole day.  So they have half a minute, and their clients come back by their cursors.
worker_shutdown_timeout 30s;

# What belongs to this nginx is in its own folder (-p), so that it runs beside another.
pid nginx.pid;
error_log error.log warn;

events {{
    # Both kinds: 16 000 clients for each process of nginx.
    worker_connections 32768;
}}

http {{
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;

    # A poll is a line, and the address of a session is its key: whoever reads the log could use it.
    access_log off;

    # RFC 6455 §4.1: an upgrade is asked for from hop to hop, so nginx has to say it again.  All
    # other requests get an empty `Connection`, without which each would cost a new connection.
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        ''      '';
    }}

{routing}
    server {{
{listen}

{tls}

        # A body of more is refused by the workers, too, but they say by name why.
        client_max_body_size 1m;
        # The largest that they take, so that none of it ever waits on a disk.  It is read whole
        # before a worker hears of it: slow senders are for nginx to bear.
        client_body_buffer_size 128k;

        # HTTP/1.0, nginx's default to its upstreams, has neither an upgrade nor chunks.
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;

        # As the browser said it, with its port: the workers compare it with the page's `Origin`.
        proxy_set_header Host $http_host;

        # Set, and not added to what came ($proxy_add_x_forwarded_for): a client may claim anything.
        # With another proxy before this one: set_real_ip_from ITS-ADDRESS; and real_ip_header
        # X-Forwarded-For; then $remote_addr is the client again.
        proxy_set_header X-Forwarded-For $remote_addr;

{buffering}

        # A worker says something every {heartbeat:g} s on a stream, and answers a long poll within
        # {wait:g} s: one that is silent for so long is not coming back.
        proxy_read_timeout {read:g}s;
        # Within a data centre a connection takes a millisecond, or will not be.
        proxy_connect_timeout 2s;

        # The next worker is asked if one cannot be reached, or breaks off before it has answered.
        # For a GET, which changes nothing here: its cursor is good everywhere.  A POST that has
        # set out is never repeated by nginx; our clients repeat it themselves, under the same id,
        # and it is said once.  No http_503: a worker says that it is busy, or going, to one
        # client; to nginx it would be a fault, by which one client could close all workers to all.
        proxy_next_upstream error timeout;
        proxy_next_upstream_tries 3;

        # No worker could answer: in the words of the contract, so that clients come again.
        error_page 502 504 = @later;
        location @later {{
            internal;
            default_type application/json;
            add_header Retry-After 1 always;
            return 503 '{{"error":{{"code":"busy","message":"No worker answers; come back."}}}}';
        }}

        # Of whichever worker it would be: ask each at its own port.
        location = /metrics {{
            return 404;
        }}

{locations}
    }}{redirect}
}}
"""

_STREAMING = """\
# What a worker writes goes on at once.  With buffering, nginx takes from a worker what a
# slow client does not read, up to a gigabyte of it on disk: the worker would believe that
# it has been read.  Without, such a client is seen as what it is, and costs nothing.
proxy_buffering off;"""

_BUFFERING = """\
# Answers are collected, as in most proxies; streams say X-Accel-Buffering: no, which wins.
proxy_buffering on;"""

_CROWD = """\
# A crowd comes back at once: it may wait, and is not turned away (nginx's bound is 511).
"""

_TLS = """\
# By HTTP/2 one connection carries up to 128 requests, so the six that a browser opens are
# no limit to streams any more.  A WebSocket opens one of its own, by HTTP/1.1.
ssl_certificate "{certificate}";
ssl_certificate_key "{key}";
# Older ones have known faults (RFC 8996).
ssl_protocols TLSv1.2 TLSv1.3;
# A client that comes again, as all do, is spared a round trip and a signature.
ssl_session_cache shared:tls:10m;
ssl_session_timeout 1h;"""

_NO_TLS = """\
# With a certificate (`realtime nginx --tls CERT KEY` writes these lines) comes HTTP/2, over
# which the six connections of a browser are no limit to streams any more:
#     listen 443 ssl http2;    # from nginx 1.25.1 on: listen 443 ssl; and http2 on;
#     ssl_certificate     /etc/letsencrypt/live/NAME/fullchain.pem;
#     ssl_certificate_key /etc/letsencrypt/live/NAME/privkey.pem;
#     ssl_protocols       TLSv1.2 TLSv1.3;
#     ssl_session_cache   shared:tls:10m;"""

_REDIRECT = """

    # Whoever types a name comes here first.
    server {{
        listen 80;
        server_name {name};
        return 301 https://$host$request_uri;
    }}"""

_UPSTREAM = """\
upstream {name} {{
    # All processes of nginx know the same: whose turn it is, and who does not answer.
    zone {name} 128k;
{servers}
    # Connections that wait for the next request: no poll begins with a handshake.
    keepalive 64;
    # Below the {idle:g} s after which a worker closes one that asks nothing: were it the first, a
    # POST could cross its end on the way, and nobody would know whether it was heard.
    keepalive_timeout 60s;
}}
"""

_SINGLE = """\
upstream {name} {{
    server {worker};
    keepalive 64;
    keepalive_timeout 60s;
}}
"""
_IN_TURN = """\
# In turn.  Not least_conn: a worker that refuses is done at once, has the fewest
# connections, and gets all.
"""
_DOWN = """\
# One that could not be reached three times is left alone for 2 s: by then, one that died
# is back.
"""
_BY_ADDRESS = """\
# By the client's address, as in the article: of IPv4 its first three numbers.  So all of a
# school behind one address are at one worker; who changes networks has lost the session.
ip_hash;
"""
_BY_SESSION = """\
# By the session's id, which the client of SockJS makes up and has in each address.
# `consistent`: when workers come or go, only their sessions move.
hash $session consistent;
"""
_SESSIONS = """\
# The server of Socket.IO makes up the session's id, and the first request has none yet: no
# hash of it could lead back to where it was made.  A cookie could, but only clients that keep
# cookies.  So each worker begins its ids with its label, a digest of the address at which it
# was reached, and here the labels are known.  The first request may go anywhere.
map $arg_sid $socketio {{
    default workers;
{labels}
}}
"""
_SESSION_LOCATIONS = """\
# /sockjs/SERVER/SESSION/WAY; all else of SockJS belongs to no session.  If its worker is
# down, the next one does not know the session and says so: the client begins a new one,
# and goes on by its cursor.
location ~ ^/sockjs/[^/.]+/(?<session>[^/.]+)/ {
    proxy_pass http://sockjs;
}

# If the worker of the session is down, nobody else is asked: the client begins a new one,
# at any other.
location /socket.io/ {
    proxy_pass http://$socketio;
}

# All of our own: any worker can answer.
location / {
    proxy_pass http://workers;
}"""
_LOCATIONS = {
    "any": """\
# All of our own: any worker can answer.  SockJS and Socket.IO hold here by a WebSocket at
# best, which is one connection: see `--routing`.
location / {
    proxy_pass http://workers;
}""",
    "address": """\
# All of one client goes to one worker.
location / {
    proxy_pass http://workers;
}""",
    "session": _SESSION_LOCATIONS,
}


def configuration(
    *,
    workers: Sequence[str],
    listen: str | int = 80,
    routing: str = "any",
    tls: tuple[str | Path, str | Path] | None = None,
    name: str = "_",
    buffering: bool = False,
    read_seconds: float = READ_SECONDS,
) -> str:
    """Write all of a configuration file for ``nginx -p DIR -c FILE``.

    `workers` are ``host:port`` of each, as nginx reaches them; `listen` is a port or
    ``address:port``; `tls` are the files of a certificate with its chain and of its key; `name` is
    the name of the site.  `buffering` and `read_seconds` are for those who want to see what a proxy
    does that was not set up for streams.  Raises ValueError, which says what cannot be written.
    """
    places = [parse_worker(worker) for worker in workers]
    _check(places, listen, routing, name)
    return _MAIN.format(
        port=places[0][1],
        proxy=_nginx_as_seen_by(places[0][0]),
        allowed="" if name == "_" else f" --allow-host {name}",
        routing=indent(_routing(workers, routing), "    "),
        listen=indent(_listen(listen, name, tls is not None), " " * 8),
        tls=indent(_tls(tls), " " * 8),
        buffering=indent(_BUFFERING if buffering else _STREAMING, " " * 8),
        heartbeat=_LIMITS.heartbeat_seconds,
        wait=_LIMITS.wait_seconds,
        read=read_seconds,
        locations=indent(_LOCATIONS[routing], " " * 8),
        redirect=_REDIRECT.format(name=name) if tls is not None and str(listen) == "443" else "",
    )


def parse_worker(text: str) -> tuple[str, int]:
    """Read ``host:port`` or ``[host]:port``; raises ValueError."""
    match = _WORKER.fullmatch(text)
    if match is None or not 0 < int(match[3]) < 65536:
        raise ValueError(f"{text} is no worker: HOST:PORT is, as 10.0.0.2:6001")
    return match[1] or match[2], int(match[3])


def _check(places: Sequence[tuple[str, int]], listen: str | int, routing: str, name: str) -> None:
    match = _LISTEN.fullmatch(str(listen))
    if match is None or not 0 < int(match[1]) < 65536:
        raise ValueError(f"{listen} is nothing to listen on: a port is, or ADDRESS:PORT")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name} is no name of a site: chat.example.org is")
    if routing not in ROUTINGS:
        raise ValueError(f"{routing} is no routing: {', '.join(ROUTINGS)} are")
    if not places or len(set(places)) < len(places):
        raise ValueError("there must be workers, and none of them twice")
    if routing == "session":
        _check_labels(places)


def _check_labels(places: Sequence[tuple[str, int]]) -> None:
    for host, _ in places:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(
                f"{host} is a name: to know its sessions again, a worker must be told by the "
                "address at which it is reached"
            ) from None
    if len({worker_label(*place) for place in places}) < len(places):
        raise ValueError("two of these workers have the same label: give one another port")


def _nginx_as_seen_by(host: str) -> str:
    return host if host in ("127.0.0.1", "::1") else "ADDRESS-OF-NGINX"


# --- parts ---------------------------------------------------------------------------------------


def _listen(listen: str | int, name: str, secured: bool) -> str:
    if not secured:
        return f"{_CROWD}listen {listen} backlog=4096;\nserver_name {name};"
    newer = "# From nginx 1.25.1 on it is `listen … ssl;` and `http2 on;`: this form is warned of."
    return f"{_CROWD}{newer}\nlisten {listen} ssl http2 backlog=4096;\nserver_name {name};"


def _tls(files: tuple[str | Path, str | Path] | None) -> str:
    if files is None:
        return _NO_TLS
    certificate, key = (_path(file) for file in files)
    return _TLS.format(certificate=certificate, key=key)


def _path(file: str | Path) -> str:
    """Give a path as nginx may read it between quotes, from whichever folder."""
    path = os.path.abspath(file)
    if not _PATH.fullmatch(path):
        raise ValueError(f"{path!r} has a character that nginx would not take for itself")
    return path


def _routing(workers: Sequence[str], routing: str) -> str:
    upstreams = [_upstream("workers", workers, _BY_ADDRESS if routing == "address" else _IN_TURN)]
    if routing == "session":
        upstreams.append(_upstream("sockjs", workers, _BY_SESSION))
        names = [f"worker_{number}" for number, _ in enumerate(workers, 1)]
        labels = "\n".join(map(_labelled, workers, names))
        upstreams.append(_SESSIONS.format(labels=indent(labels, "    ")))
        upstreams += map(_single, workers, names)
    return "\n".join(upstreams)


def _labelled(worker: str, name: str) -> str:
    return f"~^{worker_label(*parse_worker(worker))} {name};"


def _single(worker: str, name: str) -> str:
    return _SINGLE.format(name=name, worker=worker)


def _upstream(name: str, workers: Sequence[str], method: str) -> str:
    servers = "".join(f"server {worker} max_fails=3 fail_timeout=2s;\n" for worker in workers)
    return _UPSTREAM.format(
        name=name,
        servers=indent(f"{method}{_DOWN}{servers}", "    "),
        idle=_LIMITS.idle_seconds,
    )


# --- the command ---------------------------------------------------------------------------------


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="so many on this machine, at ports one after the other (as many as it has cores, if "
        "there is no --worker)",
    )
    parser.add_argument(
        "--base-port", type=_count, default=6001, metavar="P", help="the first one's (%(default)s)"
    )
    parser.add_argument(
        "--worker",
        action="append",
        default=[],
        type=_worker,
        metavar="HOST:PORT",
        help="one more, on whichever machine; may be repeated",
    )
    parser.add_argument(
        "--listen",
        metavar="PORT",
        help="a port, or ADDRESS:PORT (80, or with --tls 443)",
    )
    parser.add_argument(
        "--routing",
        choices=ROUTINGS,
        default="any",
        help="any: our own transports need none; address: ip_hash, as in the article; session: by "
        "the session of SockJS and Socket.IO (%(default)s)",
    )
    parser.add_argument(
        "--tls", nargs=2, metavar=("CERT", "KEY"), help="files in PEM: serve https, and by HTTP/2"
    )
    parser.add_argument("--name", default="_", help="the name of the site")


async def run(options: argparse.Namespace) -> None:
    """Print what was ordered; raises OSError, which says why it cannot be."""
    try:
        text = configuration(
            workers=list(_workers(options)),
            listen=options.listen or (443 if options.tls else 80),
            routing=options.routing,
            tls=tuple(options.tls) if options.tls else None,
            name=options.name,
        )
    except ValueError as error:
        raise OSError(error) from error
    print(text, end="")


def _workers(options: argparse.Namespace) -> Iterator[str]:
    here = options.workers or (0 if options.worker else os.cpu_count() or 1)
    yield from (f"127.0.0.1:{options.base_port + number}" for number in range(here))
    yield from options.worker


def _worker(text: str) -> str:
    try:
        parse_worker(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)
