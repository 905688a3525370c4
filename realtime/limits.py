"""Every limit of the server, with its default and the reason for it.

The reasons are data, not comments: the command line builds its options and their help from them
(`messages_per_second` becomes ``--messages-per-second``).
"""

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any


def _limit(default: float, reason: str) -> Any:
    return field(default=default, metadata={"reason": reason})


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one server process; a rate of 0 means no limit."""

    text_bytes: int = _limit(4096, "UTF-8 bytes of one text: a page of prose, one socket buffer")
    body_bytes: int = _limit(16384, "bytes of one POST body or frame: a text, its escapes and ids")
    name_length: int = _limit(32, "characters of a name: one line on a phone")
    history_events: int = _limit(1000, "events kept per room: an hour that a slow reader missed")
    history_seconds: float = _limit(3600, "seconds that an idle room keeps its events: one lesson")
    answer_events: int = _limit(300, "events in one poll response: about 100 KB of usual messages")
    answer_bytes: int = _limit(131072, "bytes of one poll response: what it may hold in memory")
    wait_seconds: float = _limit(60, "longest wait of a long poll: proxies time out after 60")
    heartbeat_seconds: float = _limit(15, "idle time before a heartbeat: below proxy timeouts")
    write_deadline_seconds: float = _limit(10, "a stream that takes no data this long is closed")
    push_bytes: int = _limit(32768, "bytes of one push: what a stopped reader holds in memory")
    send_buffer_bytes: int = _limit(65536, "SO_SNDBUF of a connection; the kernel doubles it")
    request_seconds: float = _limit(20, "to receive a request and its body: a slow mobile link")
    idle_seconds: float = _limit(75, "an idle keep-alive connection is closed: 75 s as in nginx")
    messages_per_second: float = _limit(20, "per client, on average: nobody types faster")
    message_burst: float = _limit(40, "per client, at once: an outbox that is resent on reconnect")
    connections: int = _limit(10000, "open at once: below the raised limit of open files")
    connections_per_address: int = _limit(1000, "open from one address: a school behind one NAT")
    rooms: int = _limit(1000, "rooms open in one process: each holds a window of history")
    list_rows: int = _limit(500, "rows of one page of rooms or members: some 5 ms of the server")
    idle_room_seconds: float = _limit(60, "a room nobody reads is kept this long: polls return")
    lease_seconds: float = _limit(30, "a member without a poll or stream for this long has quit")
    wrong_keys_per_minute: float = _limit(6, "from one address, and as many at once: typing errors")
    grace_seconds: float = _limit(5, "a stream that reconnects by then did not quit: a reload")
    drain_seconds: float = _limit(3, "on SIGTERM, streams close at random times within it")

    @classmethod
    def named(cls) -> Iterator["Field[Any]"]:
        """Iterate over the fields; ``field.metadata["reason"]`` is the help of the option."""
        return iter(fields(cls))
