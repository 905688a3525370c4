"""The configuration of nginx in front of several workers, with the reason beside each line.

    browser ──▶ nginx ──┬──▶ worker 6001 ──┐
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
from pathlib import Path
from textwrap import indent

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

_MAIN = """\
# For nginx 1.22 or newer, by `realtime nginx`.  To try it, as any user:
#
#     mkdir -p run && nginx -e stderr -p run -c FILE -t && nginx -e stderr -p run -c FILE
#
# The workers must know that nginx forwards for others, and the host name that browsers use:
#
#     realtime --port {port} --trust-proxy {proxy}{allowed}{root_option} --hub redis://…
#
# Inside a container or behind a NAT, write each worker with the address that it has itself.

# One process for each core; each of them accepts connections.
worker_processes auto;

# A client costs two file descriptors, one to the client and one to its worker: this is enough for
# {clients} clients for each process of nginx.  If it is above the user's limit, root or systemd
# (LimitNOFILE) must raise that; otherwise nginx logs a warning.
worker_rlimit_nofile {files};

# On a reload the old processes run until their last client disconnects, and a stream can stay open
# all day.  So they get half a minute; then their clients reconnect with their cursors.
worker_shutdown_timeout 30s;

# The files of this nginx are in its own folder (-p), so it can run beside another nginx.
pid nginx.pid;
error_log error.log warn;

events {{
    # As many as the files above.  Listening sockets and logs need files too, so these are used up
    # first, and then nginx stops accepting for a second, with one line in its log.  Without a free
    # connection it would accept each client and drop it.
    worker_connections {files};
    accept_mutex_delay 1s;
}}

http {{
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;

    # Each poll would be a line, and the URL of a session works like a password: keep it secret.
    access_log off;

    # RFC 6455 §4.1: `Upgrade` is a hop-by-hop header, so nginx has to send it again.  All other
    # requests get an empty `Connection`: with `close`, nginx's default, each opens a connection.
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        ''      '';
    }}

    # A request of HTTP/1.0 may have no Host, but what nginx sends to a worker is HTTP/1.1.
    map $http_host $client_host {{
        default $http_host;
        ''      $server_addr;
    }}

{routing}
    server {{
{listen}

{tls}

        # More than the workers accept, so that they refuse a large body with their own error code.
        client_max_body_size 1m;
        # Larger than any body the workers accept, so no body is written to disk.  nginx reads a
        # body completely before it opens the request to a worker: slow senders cost nginx only.
        client_body_buffer_size 128k;

        # nginx's default to upstreams is HTTP/1.0, which has neither Upgrade nor chunks.
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;

        # As the browser sent it, with the port: the workers compare it with the page's `Origin`.
        proxy_set_header Host $client_host;

        # Replaces what the client sent ($proxy_add_x_forwarded_for would keep it): a client can
        # write anything.  With another proxy in front of this one, set_real_ip_from ITS-ADDRESS;
        # and real_ip_header X-Forwarded-For; make $remote_addr the client again.
        proxy_set_header X-Forwarded-For $remote_addr;

{buffering}

        # A worker sends a heartbeat every {heartbeat:g} s on a stream, and answers a long poll
        # within {wait:g} s: one that sends nothing for the sum of both hangs.
        proxy_read_timeout {read:g}s;
        # Inside a data centre a connection opens within a millisecond, or not at all.
        proxy_connect_timeout 2s;

        # Try the next worker if one cannot be reached, or disconnects before it has responded.
        # A GET changes nothing here, and its cursor is valid at every worker.  nginx never repeats
        # a POST that it has sent; our clients repeat it with the same id, so it is published once.
        # No http_503: with 503 a worker answers one client that it is busy or shutting down, and
        # the client waits as long as `Retry-After` says.
        # No http_404, http_403 and http_429 either: the next worker would give the same answer.
        proxy_next_upstream error timeout;
        proxy_next_upstream_tries 3;

        # No worker responded, or (500) nginx has no file for a connection to one: send the error
        # format of our API, so that clients retry.
        error_page 500 502 504 = @unavailable;
        location @unavailable {{
            internal;
            default_type application/json;
            add_header Retry-After 1 always;
            return 503 '{{"error":{{"code":"busy","message":"No worker responds; try again."}}}}';
        }}

        # nginx refuses these itself; 494 is its name for a header section that is too long.
        error_page 413 /too_long;
        error_page 414 /target_too_long;
        error_page 494 =431 /header_too_long;
{too_long}

        # They would be those of an arbitrary worker: read each worker's at its own port.
        location = {root_path}/metrics {{
            default_type application/json;
            return 404 '{{"error":{{"code":"not_found","message":"Ask each worker itself."}}}}';
        }}

{locations}
    }}{redirect}
}}
"""

_TOO_LONG = """\
location = /{name} {{
    internal;
    default_type application/json;
    return {status} '{{"error":{{"code":"{name}","message":"{message}"}}}}';
}}"""
_TOO_LONG_ERRORS = (
    ("too_long", 413, "Too long."),
    ("target_too_long", 414, "Too long."),
    ("header_too_long", 431, "Too long."),
)

_STREAMING = """\
# Forward what a worker writes immediately.  With buffering, nginx accepts from a worker
# what a slow client does not read, up to a gigabyte of it on disk, and the worker believes
# that the client has read it.  Without, the worker notices a slow client and closes it.
proxy_buffering off;"""

_BUFFERING = """\
# Collect responses, as most proxies do; a stream's X-Accel-Buffering: no overrides this.
proxy_buffering on;"""

_BACKLOG = """\
# Many clients reconnect at once: let them wait instead of refusing them (default: 511).
"""

_TLS = """\
# An HTTP/2 connection carries up to 128 requests, so the six connections of a browser no
# longer limit its streams.  A WebSocket opens a connection of its own, with HTTP/1.1.
ssl_certificate "{certificate}";
ssl_certificate_key "{key}";
# Older versions have known weaknesses (RFC 8996).
ssl_protocols TLSv1.2 TLSv1.3;
# A client that reconnects, as all do, saves a round trip, and the server a signature.
ssl_session_cache shared:tls:10m;
ssl_session_timeout 1h;"""

_NO_TLS = """\
# A certificate (`realtime nginx --tls CERT KEY` writes these lines) enables HTTP/2, where
# the six connections of a browser no longer limit its streams:
#     listen 443 ssl http2;    # from nginx 1.25.1 on: listen 443 ssl; and http2 on;
#     ssl_certificate     /etc/letsencrypt/live/NAME/fullchain.pem;
#     ssl_certificate_key /etc/letsencrypt/live/NAME/privkey.pem;
#     ssl_protocols       TLSv1.2 TLSv1.3;
#     ssl_session_cache   shared:tls:10m;"""

_REDIRECT = """

    # A browser whose user types only the name comes here first.
    server {{
        listen 80;
        server_name {name};
        return 301 https://$host$request_uri;
    }}"""

_UPSTREAM = """\
upstream {name} {{
    # Shared by all processes of nginx: which worker is next, and which ones do not respond.
    zone {name} 128k;
{servers}
    # Idle connections to keep open for the next request: polls need no TCP handshake.
    keepalive 64;
    # Below the {idle:g} s after which a worker closes an idle connection.  If the worker closed it
    # first, a POST could be on its way at that moment, and might be lost without an error.
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
_ROUND_ROBIN = """\
# Round robin.  Not least_conn: a worker that refuses requests has the fewest connections,
# and would get all of them.
"""
_TRIES_ALL = """\
# max_fails=0: nginx tries every worker, also one that has just failed, then the next one.
# A process that died refuses at once, and is soon restarted.  With a number, nginx disables
# a worker that failed so often, and later tests it with one request, until that one ends.
# A stream lasts for hours: after a restart of all workers, the other clients would be
# refused for many seconds.  And nginx counts each connection that a worker closes, so one
# client could disable all workers.  The price: if a whole machine is gone, each request to
# it waits for proxy_connect_timeout first.  Then write `down` behind its workers.
"""
_BY_ADDRESS = """\
# By the client's address, as in the tutorial; of IPv4 the first three numbers.  So a whole
# school behind one address is at one worker, and a change of networks loses the session.
ip_hash;
"""
_BY_SESSION = """\
# By the session's id, which the SockJS client chooses and puts into each URL.
# `consistent`: when workers are added or removed, only their sessions move.
hash $session consistent;
"""
_SOCKJS_SESSIONS = """\
# /sockjs/SERVER/SESSION/TRANSPORT; other URLs of SockJS belong to no session, and any
# worker can answer them.  As the client sent it: a location would see `%2E` as a dot.
map $request_uri $session {{
    default '';
    ~^{root}/sockjs/[^/.?]+/(?<id>[^/.?]+)/ $id;
}}
"""
_SESSIONS = """\
# The Socket.IO server chooses the session's id, and the first request has none yet: a hash of
# the id would not find the worker that made it.  A cookie would, but not all clients keep
# cookies.  So each worker starts its ids with its label, a digest of the address at which it
# was reached, and this map knows the labels.  The first request may go to any worker.
map $arg_sid $socketio {{
    default workers;
{labels}
}}
"""
_SESSION_LOCATIONS = """\
# If the worker of a session is down, the next one does not know the session and reports
# that: the client starts a new session, and continues from its cursor.
location ~ ^{root}/sockjs/ {{
    proxy_pass http://sockjs;
}}

# If the worker of the session is down, no other worker is tried: the client starts a new
# session at another one.  A pattern: nginx would redirect `/socket.io` to a plain
# `location /socket.io/`, and a redirected client sends its POST as a GET.
location ~ ^{root}/socket\\.io/?$ {{
    proxy_pass http://$socketio;
}}

# Our own transports: any worker can answer.
location {all} {{
    proxy_pass http://workers;
}}"""
_LOCATIONS = {
    "any": """\
# Our own transports: any worker can answer.  SockJS and Socket.IO keep a session here only
# over a WebSocket, which is one connection: see `--routing`.
location {all} {{
    proxy_pass http://workers;
}}""",
    "address": """\
# All requests of one client go to one worker.
location {all} {{
    proxy_pass http://workers;
}}""",
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
    # The workers answer both /chat and /chat/…, but not /chats.
    paths = {"root": re.escape(root_path), "all": "/"}
    if root_path:
        paths["all"] = f"~ ^{paths['root']}(?:/|$)"
    return _MAIN.format(
        port=addresses[0][1],
        files=files,
        clients=files // 2,
        proxy=_nginx_as_seen_by(addresses[0][0]),
        allowed="" if name == "_" else f" --allow-host {name}",
        routing=indent(_routing(workers, routing, paths["root"]), "    "),
        root_path=root_path,
        root_option=f" --root-path {root_path}" if root_path else "",
        listen=indent(_listen(listen, name, tls is not None), " " * 8),
        tls=indent(_tls(tls), " " * 8),
        buffering=indent(_BUFFERING if buffering else _STREAMING, " " * 8),
        heartbeat=_LIMITS.heartbeat_seconds,
        wait=_LIMITS.wait_seconds,
        read=read_seconds,
        too_long=indent(_too_long(), " " * 8),
        locations=indent(_LOCATIONS[routing].format(**paths), " " * 8),
        redirect=_REDIRECT.format(name=name) if tls is not None and str(listen) == "443" else "",
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


# --- parts ---------------------------------------------------------------------------------------


def _listen(listen: str | int, name: str, is_https: bool) -> str:
    if not is_https:
        return f"{_BACKLOG}listen {listen} backlog=4096;\nserver_name {name};"
    newer = "# From nginx 1.25.1 on: `listen … ssl;` and `http2 on;`; it warns of this older form."
    return f"{_BACKLOG}{newer}\nlisten {listen} ssl http2 backlog=4096;\nserver_name {name};"


def _tls(files: tuple[str | Path, str | Path] | None) -> str:
    if files is None:
        return _NO_TLS
    certificate, key = (_path(file) for file in files)
    return _TLS.format(certificate=certificate, key=key)


def _too_long() -> str:
    return "\n".join(
        _TOO_LONG.format(name=name, status=status, message=message)
        for name, status, message in _TOO_LONG_ERRORS
    )


def _path(file: str | Path) -> str:
    """Return an absolute path that nginx reads correctly between quotes."""
    path = os.path.abspath(file)
    if not _PATH.fullmatch(path):
        raise ValueError(f"{path!r} has a character with a meaning of its own to nginx")
    return path


def _routing(workers: Sequence[str], routing: str, root: str) -> str:
    method = _BY_ADDRESS if routing == "address" else _ROUND_ROBIN
    upstreams = [_upstream("workers", workers, method)]
    if routing == "session":
        upstreams += [_SOCKJS_SESSIONS.format(root=root), _upstream("sockjs", workers, _BY_SESSION)]
        names = [f"worker_{number}" for number, _ in enumerate(workers, 1)]
        labels = "\n".join(map(_label_line, workers, names))
        upstreams.append(_SESSIONS.format(labels=indent(labels, "    ")))
        upstreams += map(_single, workers, names)
    return "\n".join(upstreams)


def _label_line(worker: str, name: str) -> str:
    return f"~^{worker_label(*parse_worker(worker))} {name};"


def _single(worker: str, name: str) -> str:
    return _SINGLE.format(name=name, worker=worker)


def _upstream(name: str, workers: Sequence[str], method: str) -> str:
    servers = "".join(f"server {worker} max_fails=0;\n" for worker in workers)
    return _UPSTREAM.format(
        name=name,
        servers=indent(f"{method}{_TRIES_ALL}{servers}", "    "),
        idle=_LIMITS.idle_seconds,
    )
