"""The configuration of haproxy in front of several workers, with the reason beside each line.

Over TLS it serves HTTP/2, and WebSockets as streams of the same connection (RFC 8441).  The workers
speak HTTP/1.1.  templates/haproxy.cfg is the text; `proxy_config` checks its values.
"""

from collections.abc import Sequence
from pathlib import Path

from realtime.cluster.proxy_config import (
    MAX_OPEN_FILES,
    READ_SECONDS,
    quoted_path,
    render,
    site_values,
)
from realtime.limits import Limits

_LIMITS = Limits()
# /sockjs/SERVER/SESSION/TRANSPORT, split at each slash: the id of the session is the fourth part.
_SESSION_PART = 4


def configuration(
    *,
    workers: Sequence[str],
    listen: str | int = 80,
    routing: str = "any",
    tls: str | Path | None = None,
    name: str = "_",
    open_files: int = MAX_OPEN_FILES,
    root_path: str = "",
) -> str:
    """Return the text of a configuration file for ``haproxy -f FILE``.

    `tls` is one file with a certificate, its chain and its key.  The other arguments are those of
    `site_values`.  Raises ValueError, which says what cannot be written.
    """
    values = site_values(
        "haproxy",
        workers=workers,
        listen=listen,
        routing=routing,
        name=name,
        open_files=open_files,
        root_path=root_path,
    )
    values["listen"] = listen if ":" in str(listen) else f":{listen}"
    return render(
        "haproxy.cfg",
        **values,
        tls=tls and quoted_path(tls, "haproxy"),
        redirect=tls is not None and str(listen) == "443",
        session_part=_SESSION_PART + root_path.count("/"),
        read_seconds=f"{READ_SECONDS:g}",
        request_seconds=f"{_LIMITS.request_seconds:g}",
        buffer_bytes=_LIMITS.send_buffer_bytes,
    )
