"""Saying something on a connection that goes both ways: a message is answered by a message.

Nothing else says there which answer belongs to what, so the answer repeats the message's `id`.
"""

import json
from typing import Any

from realtime import errors, metrics
from realtime.core.events import Cursor, Draft
from realtime.errors import RealtimeError
from realtime.transports.base import Services


async def handle_message(
    services: Services, message: str | bytes, room: str, via: str, address: str
) -> bytes:
    """Publish a message to `room`; give ``{"kind":"ack",…}``, or ``{"kind":"error",…}``."""
    try:
        draft = Draft.parse(read(message), room, services.limits, via)
        receipt = await services.publish(draft, address)
    except RealtimeError as error:
        return error_reply(error, message)
    return acknowledge(receipt.id, receipt.cursor)


def read(message: str | bytes) -> bytes:
    """The bytes of a message, which must be text; raises `BadJSON`."""
    if isinstance(message, bytes):
        raise errors.BadJSON("A message is a text frame; this one is binary.")
    try:
        return message.encode()
    except UnicodeEncodeError as error:
        raise errors.BadJSON("Half a surrogate pair is no character.") from error


def acknowledge(id: str, cursor: Cursor) -> bytes:
    return _encode({"kind": "ack", "id": id, "cursor": str(cursor)})


def error_reply(error: RealtimeError, message: str | bytes) -> bytes:
    """Say what was wrong with a message."""
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
    """The id of a message, where one can be read."""
    try:
        value = json.loads(message)["id"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return value if isinstance(value, str) and len(value) <= 64 else None
