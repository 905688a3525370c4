"""Who may do what: the actions, the grant of a request, and client ids that prove themselves.

`Access.admit` turns a request into a `Grant`, once; each use of a room then asks the grant:

    request ─▶ services.access.admit ─▶ Grant ─▶ grant.require(action, room)
                                          └─▶ grant.identify(client, name, secret)

An id ``key-`` and 32 hexadecimal digits is the SHA-256 of a secret, its first 128 bits.  Only who
has the secret can use the id, and every process can check that without any state:

    printf %s "$SECRET" | sha256sum | cut -c 1-32

All other ids are plain: anybody can use them.  Pure: no I/O, no clock, no asyncio.
"""

import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Protocol

from realtime.errors import NotAllowed, WrongSecret

# The ids that only the owner of a secret can use start with this.
KEY_PREFIX = "key-"
# Hexadecimal digits of such an id: 128 bits, so that nobody finds another secret for it.
_ID_DIGITS = 32
# Secrets whose ids are kept: those of the clients of one process.  A poll pays the hash once.
_KEPT_SECRETS = 10_000
_MAX_SECRET_LENGTH = 128


class Action(StrEnum):
    """What a client can do in a room."""

    READ = "read"  # receive its events, see its members, be one of them
    SPEAK = "speak"  # publish messages
    MODERATE = "moderate"  # what otherwise needs the lecturer's key, such as a reset


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request may do: these actions, in the rooms that match one of these patterns.

    A pattern is a name in which ``*`` stands for any characters.  With a `client` or a `name`, the
    request has no other.  `expires` is a time of the system clock, in seconds.
    """

    actions: frozenset[Action] = frozenset((Action.READ, Action.SPEAK))
    rooms: tuple[str, ...] = ("*",)
    client: str | None = None
    name: str | None = None
    expires: float = math.inf

    def allows(self, action: Action, room: str) -> bool:
        """Return whether this action is allowed in this room."""
        return action in self.actions and (
            "*" in self.rooms or any(fnmatchcase(room, pattern) for pattern in self.rooms)
        )

    def require(self, action: Action, room: str) -> None:
        """Return if this action is allowed in this room; raises `NotAllowed` otherwise."""
        if self is EVERYTHING and action is not Action.MODERATE:
            return  # at once: every poll asks
        if not self.allows(action, room):
            raise NotAllowed(f"You may not {action} in the room {room}.")

    def require_all(self) -> None:
        """Return if every room may be read, as the figures of all of them need."""
        if Action.READ not in self.actions or "*" not in self.rooms:
            raise NotAllowed("These are the figures of all rooms, which you may not read.")

    def identify(
        self, client: str | None, name: str | None, secret: Any
    ) -> tuple[str | None, str | None]:
        """Return the client and the name of a request that has sent these.

        Raises `NotAllowed` if the grant is for another one, and `WrongSecret` if the id needs a
        secret and this is not it.
        """
        if self.client is not None and client not in (None, self.client):
            raise NotAllowed(f"You may only be the client {self.client}.")
        if self.name is not None and name not in (None, self.name):
            raise NotAllowed(f"You may only have the name {self.name}.")
        if self.client is None:
            check_secret(client, secret)
        return self.client or client, self.name or name


# The grant of everybody in the modes `open` and `class`; to moderate needs the lecturer's key.
EVERYTHING = Grant()


class AccessRequest(Protocol):
    """What a verdict may depend on: the header fields and the query of a request."""

    @property
    def header_fields(self) -> Mapping[str, str]: ...
    @property
    def arguments(self) -> Mapping[str, Sequence[bytes]]: ...


class Access(Protocol):
    """The access mode of a server."""

    mode: str

    def admit(self, request: AccessRequest, ticket: Any = None) -> Grant:
        """Return what a request may do; raises a named error if its credentials are wrong.

        `ticket` is one that came in a message; it counts before those in the request.
        """


class FreeAccess:
    """The modes `open` and `class`: everybody may read and speak everywhere."""

    def __init__(self, mode: str = "open") -> None:
        self.mode = mode

    def admit(self, request: AccessRequest, ticket: Any = None) -> Grant:
        return EVERYTHING


# --- ids that prove themselves -------------------------------------------------------------------


def check_secret(client: str | None, secret: Any) -> None:
    """Return if `client` is a plain id, or the id of `secret`; raises `WrongSecret` otherwise."""
    if client is None or not client.startswith(KEY_PREFIX):
        return
    is_secret = isinstance(secret, str) and len(secret) <= _MAX_SECRET_LENGTH
    # In constant time: the time of a response must not show how much of a hash was right.
    if not is_secret or not hmac.compare_digest(client, client_id(secret)):
        raise WrongSecret(
            f"An id that starts with `{KEY_PREFIX}` needs its `secret`; or choose another id."
        )


def check_same_secret(expected: str | None, secret: str | None) -> None:
    """Return if a session may be used with `secret`; raises `WrongSecret` otherwise.

    The id of a session is in its URLs, and so in captures.  `expected` is the secret of the request
    that opened it, None if that had none.
    """
    if expected is not None and not hmac.compare_digest(expected.encode(), (secret or "").encode()):
        raise WrongSecret("This session was opened with a `secret`; each request must have it.")


@lru_cache(_KEPT_SECRETS)
def client_id(secret: str) -> str:
    """Return the id that only who has `secret` can use."""
    # A lone surrogate, which JSON can contain, has no UTF-8, and is then part of no valid secret.
    digest = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
    return KEY_PREFIX + digest[:_ID_DIGITS]
