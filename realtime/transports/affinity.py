"""Session affinity: a session's id begins with the label of the worker that holds it.

    client ──▶ nginx ──▶ worker
                 ▲          │
                 └── sid: label of the worker, random part

nginx reads the label from the session id and routes the request to that worker.
"""

import hashlib

from realtime.protocol.addresses import parse_address

LABEL_LENGTH = 6


def worker_label(host: str, port: int) -> str:
    """Return the label of the worker that listens at this address, as hexadecimal digits.

    Worker and proxy compute it independently: the worker from its local address, the proxy from the
    address it forwards to.  It is a digest, so that no private address appears in a session id.
    """
    address = f"{parse_address(host) or host} {port}"
    return hashlib.sha256(address.encode()).hexdigest()[:LABEL_LENGTH]
