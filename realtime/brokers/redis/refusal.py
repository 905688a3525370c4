"""Why Redis refuses a command, in words that name the command and what to do.

A Redis that answers is not yet one that we can use: it may be a read-only replica, full, or give
our user too few rights.
"""

from collections.abc import Sequence

# The type of each key, by the last part of its name.
KEY_TYPES = {
    **dict.fromkeys((b"log", b"presence"), "stream"),
    **dict.fromkeys((b"meta", b"people", b"reports"), "hash"),
    **dict.fromkeys((b"members", b"workers"), "zset"),
    **dict.fromkeys((b"clock", b"check"), "string"),
}
# What an error reply contains, in lower case, and what to do about it.
_READ_ONLY = "it is a read-only replica; give --hub the address of the master"
_FULL = "it is full; raise its maxmemory, or keep less with --history-events"
_REASONS = (
    (("read only replica", "readonly"), _READ_ONLY),
    (("oom ", "maxmemory"), _FULL),
    (("noreplicas", "not enough good replicas"), "it has too few replicas (min-replicas-to-write)"),
    (("misconf",), "it cannot save to its disk (MISCONF); see the log of Redis"),
)


def explain(command: str, error: str, prefix: str) -> str:
    """Return a sentence that says what Redis refuses, why, and which right is missing."""
    text = error.lower()
    subject = f"Redis refuses {command}"
    if "channel" in text and ("permission" in text or "can't publish" in text):
        return f"{subject}: the user needs the right &{prefix}:* (ACL SETUSER)"
    if "keys" in text and ("permission" in text or "can't access" in text):
        return f"{subject}: the user needs the rights ~{prefix}:* ~{{{prefix}}}:* (ACL SETUSER)"
    if "permission" in text or "can't run this command" in text:
        return f"{subject}: the user needs the right +{command.lower()} (ACL SETUSER)"
    for parts, reason in _REASONS:
        if any(part in text for part in parts):
            return f"{subject}: {reason}"
    return f"{subject}: {error}"


def denied_command(error: str) -> str | None:
    """Return the command in an error such as "no permissions to run the 'evalsha' command"."""
    _, quote, rest = error.partition("to run the '")
    return rest.partition("'")[0].upper() if quote else None


def explain_types(keys: Sequence[bytes], types: Sequence[bytes]) -> str | None:
    """Return a sentence that names the first key of a wrong type."""
    for key, found in zip(keys, types, strict=True):
        expected = KEY_TYPES.get(key.rpartition(b":")[2], "string")  # else `seen:ID`
        if found not in (b"none", expected.encode()):
            name = key.decode(errors="backslashreplace")
            return f"the key {name} is a {found.decode()} and not a {expected}; delete it"
    return None
