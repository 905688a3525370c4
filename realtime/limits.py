"""Every number that bounds the server, each with its reason.

The reasons are data, not comments: the command line builds its options and their help from them
(`messages_per_second` is ``--messages-per-second``).
"""

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any


def _limit(default: float, reason: str) -> Any:
    return field(default=default, metadata={"reason": reason})


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one server process; a rate of 0 is switched off."""

    text_bytes: int = _limit(4096, "UTF-8 bytes of one text: a page of prose, one socket buffer")
    body_bytes: int = _limit(16384, "bytes of one POST body or frame: a text, its escapes and ids")
    name_length: int = _limit(32, "characters of a name: one line on a phone")
    history_events: int = _limit(1000, "events a room remembers: a lost hour of a slow reader")
    history_seconds: float = _limit(3600, "seconds a quiet room remembers: one lesson")
    answer_events: int = _limit(300, "events in one poll's answer: about 100 KB of usual messages")
    answer_bytes: int = _limit(131072, "bytes of one poll's answer: what a poll may pin in memory")
    wait_seconds: float = _limit(60, "the most a long poll may ask: proxies cut at 60 by default")
    heartbeat_seconds: float = _limit(15, "silence on a stream: below the usual proxy idle limits")
    write_deadline_seconds: float = _limit(10, "a stream that takes nothing for so long is closed")
    push_bytes: int = _limit(32768, "bytes of one push: what a reader that stops can pin in memory")
    send_buffer_bytes: int = _limit(65536, "bytes the kernel may hold for a reader; it takes twice")
    request_seconds: float = _limit(20, "a request, head and body, is here by then: a bad mobile")
    idle_seconds: float = _limit(75, "a kept connection that asks nothing is closed: as in nginx")
    messages_per_second: float = _limit(20, "per client, in the long run: nobody types faster")
    message_burst: float = _limit(40, "per client, at once: an outbox resent after a break")
    connections: int = _limit(10000, "open at once: below the usual limit of open files, raised")
    connections_per_address: int = _limit(1000, "open from one address: a school behind one NAT")
    rooms: int = _limit(1000, "rooms one process reads: each costs a window of history")
    idle_room_seconds: float = _limit(
        60, "a room that nobody reads is kept so long: a poll returns"
    )
    lease_seconds: float = _limit(30, "a member who gives no sign of life for so long has quit")
    grace_seconds: float = _limit(5, "a stream that comes back within it never left: a reload")
    drain_seconds: float = _limit(3, "on SIGTERM, streams end at random within it: no stampede")

    @classmethod
    def named(cls) -> Iterator["Field[Any]"]:
        """List the fields; ``field.metadata["reason"]`` is the help of the option."""
        return iter(fields(cls))
