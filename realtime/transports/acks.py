"""Messages from clients on a two-way connection: each is answered by an acknowledgement.

HTTP pairs a response with its request; here nothing does, so the answer repeats the message's `id`.
"""

import json
from typing import Any

from realtime import errors, metrics
from realtime.core.events import Cursor
from realtime.errors import RealtimeError
from realtime.transports.base import Sender, Services


async def handle_message(
    services: Services, message: str | bytes, room: str, via: str, sender: Sender
) -> bytes:
    """Publish a message to `room`; return ``{"kind":"ack",…}`` or ``{"kind":"error",…}``."""
    try:
        draft = sender.parse(read(message), room, services.limits, via)
        receipt = await services.publish(draft, sender)
    except RealtimeError as error:
        return error_reply(error, message)
    return acknowledge(receipt.id, receipt.cursor)


def read(message: str | bytes) -> bytes:
    """Return the bytes of a message, which must be text; raises `BadJSON`."""
    if isinstance(message, bytes):
        raise errors.BadJSON("Send a message in a text frame; this frame is binary.")
    try:
        return message.encode()
    except UnicodeEncodeError as error:
        raise errors.BadJSON("The text contains half a surrogate pair; send UTF-8.") from error


def acknowledge(id: str, cursor: Cursor) -> bytes:
    return _encode({"kind": "ack", "id": id, "cursor": str(cursor)})


def error_reply(error: RealtimeError, message: str | bytes) -> bytes:
    """Report what was wrong with a message."""
    metrics.REFUSED.labels(error.code).inc()
    fields: dict[str, Any] = {
        "kind": "error",
        "id": id_of(message),
        "code": error.code,
        "message": error.message,
    }
    if error.retry_after is not None:
        fields["retry_after"] = error.retry_after
    return _encode(fields)


def _encode(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


def id_of(message: str | bytes) -> str | None:
    """The id of a message, even of an invalid one, if it can be read."""
    try:
        value = json.loads(message)["id"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return value if isinstance(value, str) and len(value) <= 64 else None
