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
    """The limits of one server process; a rate of 0 means no limit.

    Without `messages_per_second` messages have no rate limit at all, of no kind.
    """

    text_bytes: int = _limit(4096, "UTF-8 bytes of one text: a page of prose, one socket buffer")
    body_bytes: int = _limit(16384, "bytes of one POST body or frame: a text, its escapes and ids")
    header_bytes: int = _limit(65536, "bytes of a header section: browsers send at most this much")
    name_length: int = _limit(32, "characters of a name: one line on a phone")
    history_events: int = _limit(1000, "events kept per room: an hour that a slow reader missed")
    presence_events: int = _limit(200, "joins and quits kept per room, apart from its messages")
    history_seconds: float = _limit(3600, "seconds that an idle room keeps its events: one lesson")
    room_bytes: int = _limit(
        33554432, "bytes of messages kept per room: a thousand of the longest, each byte escaped"
    )
    history_bytes: int = _limit(268435456, "bytes kept of all rooms: the memory of a small machine")
    history_bytes_per_address: int = _limit(67108864, "of them, in the rooms of one address")
    kept_rooms: int = _limit(20000, "rooms that keep messages: 8 KB each before the first one")
    kept_rooms_per_address: int = _limit(5000, "of them, that one address wrote to first")
    kept_rooms_per_client: int = _limit(
        100, "of them, by one client, in a class only: those of a day of lessons"
    )
    kept_ids: int = _limit(500000, "ids of messages remembered for 5 minutes, for retries")
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
    messages_per_second_per_connection: float = _limit(
        40, "on average: two clients, since tabs of one browser share a connection"
    )
    messages_per_second_per_address: float = _limit(
        200, "on average: a class of forty behind one NAT"
    )
    messages_per_second_per_room: float = _limit(600, "on average: no address alone uses up a room")
    joins_per_second_per_address: float = _limit(
        50, "new members, on average; all its connections at once"
    )
    joins_per_second_per_client: float = _limit(
        2, "new memberships, on average, and as many quits; in a class only"
    )
    streams_per_client: int = _limit(32, "open at once, in a class only: the lab opens eight")
    connections: int = _limit(10000, "open at once: below the raised limit of open files")
    connections_per_address: int = _limit(1000, "open from one address: a school behind one NAT")
    handshakes: int = _limit(
        200, "QUIC connections without a request yet; above half, a client must prove its address"
    )
    handshakes_per_address: int = _limit(
        50, "of them, from one address: a class that opens a page; above half, as above"
    )
    status_connections: int = _limit(64, "open at the status port of a cluster: its operators")
    status_connections_per_address: int = _limit(32, "of these, from one address: a proxy's too")
    reserved_files: int = _limit(64, "open files left for Redis, pages and workers")
    address_share: float = _limit(
        3, "an address may hold this many times what is free: alone 3/4 of all, never everything"
    )
    taps: int = _limit(400, "open at /wire/SECRET: each page opens one")
    taps_per_address: int = _limit(100, "of them, from one address: two pages per student")
    taps_per_client: int = _limit(8, "of them, by one client, in a class only: a page opens one")
    tap_bytes: int = _limit(262144, "that a tap keeps for its slow subscribers, shared by them")
    networks_per_address: int = _limit(6, "network emulators leased to one address, of eight")
    networks_per_client: int = _limit(
        2, "of them, to one client, in a class only: its page, and an experiment on it"
    )
    network_lease_seconds: float = _limit(
        900, "after this, an emulator goes to an address that has fewer: one exercise"
    )
    network_connections: int = _limit(600, "through all emulators: three open files each")
    network_connections_per_address: int = _limit(300, "of them, from one address: a class")
    network_connections_per_emulator: int = _limit(300, "of them, through one emulator: a class")
    network_bytes: int = _limit(33554432, "on the way through all emulators: a few per connection")
    rooms: int = _limit(1000, "rooms open in one process: each holds a window of history")
    rooms_per_address: int = _limit(250, "of them, opened by one address: a quarter")
    rooms_per_client: int = _limit(
        32, "of them, opened by one client, in a class only: as many as its streams"
    )
    list_rows: int = _limit(500, "rows of one page of rooms or members: some 5 ms of the server")
    idle_room_seconds: float = _limit(60, "a room nobody reads is kept this long: polls return")
    lease_seconds: float = _limit(30, "a member without a poll or stream for this long has quit")
    wrong_keys_per_minute: float = _limit(6, "from one address, and as many at once: typing errors")
    ticket_bytes: int = _limit(4096, "characters of a ticket: what a cookie can hold")
    ticket_leeway_seconds: float = _limit(
        5, "that the clocks of the issuer of a ticket and of the server may differ"
    )
    kept_tickets: int = _limit(
        4096, "tickets whose signature is checked once, and not at each poll: 1 KB each"
    )
    grace_seconds: float = _limit(5, "a stream that reconnects by then did not quit: a reload")
    drain_seconds: float = _limit(3, "on SIGTERM, streams close at random times within it")

    def admits(self, held: int, per_address: int, used: int, total: int) -> bool:
        """Return whether an address that holds `held` of the `used` things may have one more.

        Besides its own limit, an address may hold `address_share` times what is still free: the
        dynamic threshold by which network switches share their buffers (Choudhury and Hahne, 1998).
        One address alone gets 3/4 of `total`, two get 3/7 each, and the next one still finds some.
        """
        return held < min(per_address, self.address_share * (total - used))

    @staticmethod
    def admits_client(client: str | None, held: int, per_client: int, per_address: int) -> bool:
        """Return whether a client of a class that holds `held` things may have one more.

        All without an id (``""``) share half of what their address may have: so there is something
        left for the others.  None has no limit: it is in no class.
        """
        return client is None or held < (per_client if client else per_address // 2)

    @classmethod
    def named(cls) -> Iterator["Field[Any]"]:
        """Iterate over the fields; ``field.metadata["reason"]`` is the help of the option."""
        return iter(fields(cls))
