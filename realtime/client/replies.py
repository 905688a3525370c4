"""Replies to messages that were sent on a two-way connection: each waits for its own."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from realtime.client.http import Closed, Refused


@dataclass(eq=False, slots=True)
class PendingReply:
    """A message without its reply, by its id, if it has one that can be parsed."""

    id: str | None
    reply: asyncio.Future[dict[str, Any]]


class PendingReplies:
    """The messages of one connection that have no reply yet."""

    def __init__(self) -> None:
        self._pending: list[PendingReply] = []

    def add(self, body: bytes) -> PendingReply:
        """Expect a reply to `body`; `remove` it in any case."""
        pending = PendingReply(_id_of(body), asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        return pending

    def remove(self, pending: PendingReply) -> None:
        """Expect this reply no longer, whether it has come or not."""
        self._pending.remove(pending)
        if pending.reply.done() and not pending.reply.cancelled():
            pending.reply.exception()  # or asyncio would log an error that nobody has taken

    def resolve(self, reply: dict[str, Any]) -> None:
        """Hand a reply to the call that waits for it.

        An error without an id answers the oldest message: a server answers in order.
        """
        id = reply["id"]
        waiting = [p for p in self._pending if not p.reply.done() and id in (p.id, None)]
        if not waiting:
            return  # the call was cancelled
        if reply["kind"] == "error":
            waiting[0].reply.set_exception(error_of(reply))
        else:
            waiting[0].reply.set_result({"cursor": reply["cursor"], "id": id})

    def fail(self, closed: Closed) -> None:
        """Report to all that no reply follows."""
        for pending in self._pending:
            if not pending.reply.done():
                pending.reply.set_exception(Closed(closed.code, closed.reason))


def error_of(reply: dict[str, Any]) -> Refused:
    """Return the exception for an error that came in a frame."""
    return Refused(None, reply["code"], reply["message"], reply.get("retry_after"))


def _id_of(body: bytes) -> str | None:
    """Return the id that the reply will carry, if the server can parse it as we do."""
    try:
        value = json.loads(body)["id"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return value if isinstance(value, str) else None
