"""The configuration of nginx in front of several workers, with the reason beside each line.

templates/nginx.conf is the text; `proxy_config` checks its values.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from realtime.cluster.proxy_config import (
    MAX_OPEN_FILES,
    READ_SECONDS,
    quoted_path,
    render,
    site_values,
)


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

    `tls` are the files of a certificate with its chain and of its key.  `buffering` and
    `read_seconds` show what a proxy does that was not set up for streams.  The other arguments are
    those of `site_values`.  Raises ValueError, which says what cannot be written.
    """
    values = site_values(
        "nginx",
        workers=workers,
        listen=listen,
        routing=routing,
        name=name,
        open_files=open_files,
        root_path=root_path,
    )
    root = re.escape(root_path)
    return render(
        "nginx.conf",
        **values,
        root=root,
        # The workers answer both /chat and /chat/…, but not /chats.
        everything=f"~ ^{root}(?:/|$)" if root_path else "/",
        server_name=name,
        tls=tls and [quoted_path(file, "nginx") for file in tls],
        redirect=tls is not None and str(listen) == "443",
        buffering=buffering,
        read_seconds=f"{read_seconds:g}",
    )
