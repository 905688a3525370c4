"""Capture files: the records of a tap as pcapng, which Wireshark and tshark open.

    record of the tap ─▶ packets with synthesised headers ─▶ blocks of the file

The tap knows the bytes inside of TCP, and no packets.  So the IP and TCP headers are synthesised,
with right checksums and sequence numbers, and so are the handshake and the end of each connection;
the file says so.  The addresses are those for documentation (RFC 5737) and private ones (RFC 1918).

    server              192.0.2.1, port 80, whatever its real port is: Wireshark knows it as HTTP
    connection N        port 40000 + N % 20000 of 10.0.0.1, of 10.0.0.2 from N = 20000 on, …
    name of interface   the transport, as a filter: frame.interface_name == "sse"

Of a QUIC connection, which is encrypted, the tap knows the sizes of the UDP datagrams, and the
plain bytes of streams and datagrams inside.  A size becomes a packet cut after its headers, as
every capture with a short snapshot length has them.  Plain bytes have no packet: they become
"exported PDUs", as Wireshark writes what it has decrypted.

demos/static/wire/pcapng.js writes the same bytes, and pcapng_reader.js reads them.  The blocks are
those of draft-ietf-opsawg-pcapng.
"""

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

_NOTE = (
    "Recorded at the server's socket by realtime. The bytes inside of TCP are real. The IP and TCP "
    "headers, handshakes, addresses and ports are synthesised: port 80 stands for the port of the "
    "server, client port 40000 + n is connection n. QUIC is encrypted: its packets have only their "
    "size here, and its plain bytes follow as exported PDUs. Secrets are asterisks of equal length."
    " Wireshark dissects a response when it has ended; to see each chunk of a stream, set "
    "http.desegment_body and http.dechunk_body to FALSE, and for JSON in the frames of a WebSocket "
    "websocket.text_type to As json."
)
_SERVER = bytes((192, 0, 2, 1))
_FIRST_CLIENT = 10 << 24 | 1
_FIRST_PORT, _PORTS = 40_000, 20_000
_HTTP_PORT, _QUIC_PORT = 80, 443
_SERVER_NAME, _CLIENT_NAME = "server", "client"

# Ethernet's 1500 bytes without two headers of 20: each full segment of a real capture has so many.
_SEGMENT_BYTES = 1_460
_FIN, _SYN, _PSH, _ACK = 0x01, 0x02, 0x08, 0x10
# MSS, and a window of 1 GiB: a smaller one would need acknowledgements, which we do not know.
_SYN_OPTIONS = struct.pack("!BBHBBBB", 2, 4, _SEGMENT_BYTES, 1, 3, 3, 14)
_WINDOW = 65_535
_TCP, _UDP = 6, 17

# Types of blocks, and of links: IP without Ethernet, and PDUs of Wireshark.
_SECTION, _INTERFACE, _NAMES, _PACKET = 0x0A0D0D0A, 1, 4, 6
_RAW_IP, _UPPER_PDU = 101, 252
# Options of every block, of a section, of an interface, and of a packet.
_COMMENT, _APPLICATION, _NAME, _FLAGS = 1, 4, 2, 2
# Tags of an exported PDU (wsutil/exported_pdu_tlvs.h), and UDP as their type of a port.
_DISSECTOR, _SOURCE, _TARGET, _PORT_TYPE, _SOURCE_PORT, _TARGET_PORT = 12, 20, 21, 24, 25, 26
_PROTOCOL_COLUMN, _INFO_COLUMN = 33, 36
_PORT_TYPE_UDP = 3

# The direction as a packet says it: received or sent by the server.
_DIRECTION_FLAG = {"up": 1, "down": 2}
_OTHER = {"up": "down", "down": "up"}


class PcapngWriter:
    """Turns records of a tap (see `server.tap`) into the bytes of a capture file, one by one."""

    def __init__(self) -> None:
        self._interfaces: dict[tuple[str, int], int] = {}
        # By connection: its transport, and the next sequence numbers, or None for QUIC.
        self._connections: dict[int, tuple[str, dict[str, int] | None]] = {}
        self._dropped = 0  # bytes that the tap did not copy, until a packet says so

    def start(self) -> bytes:
        """Return the start of the file, which says what it is."""
        options = _option(_COMMENT, _NOTE.encode()) + _option(_APPLICATION, b"realtime")
        section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
        return _block(_SECTION, section, options)

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """Return the blocks of one record; `comments` of it are kept with its first packet."""
        if "dropped" in record:
            self._dropped += record["dropped"]
            return b""
        if record.get("closed"):
            return self._close(record)
        if "packet" in record:
            return self._datagram(record)
        data = base64.b64decode(record["data"])
        if "stream" in record or record.get("datagram"):
            return self._pdu(record, _info(record), data)
        return self._segments(record, data)

    # --- TCP -------------------------------------------------------------------------------------

    def _segments(self, record: Mapping[str, Any], data: bytes) -> bytes:
        out = b""
        direction, comments = record["direction"], self._comments(record)
        if record["connection"] not in self._connections:
            out += self._open(record)
        for start in range(0, len(data), _SEGMENT_BYTES):
            piece = data[start : start + _SEGMENT_BYTES]
            # PSH ends what was written at once (RFC 9293 §3.9.1.2): so a reader finds the record.
            last = start + _SEGMENT_BYTES >= len(data)
            flags = _ACK | (_PSH if last else 0)
            out += self._segment(record, direction, flags, piece, comments=comments)
            comments = []
        return out

    def _open(self, record: Mapping[str, Any]) -> bytes:
        number, transport = record["connection"], record["transport"]
        self._connections[number] = transport, {"up": 0, "down": 0}
        comments = [f"connection {number}, {transport}: this handshake is synthesised"]
        return (
            self._segment(record, "up", _SYN, options=_SYN_OPTIONS, comments=comments)
            + self._segment(record, "down", _SYN | _ACK, options=_SYN_OPTIONS)
            + self._segment(record, "up", _ACK)
        )

    def _close(self, record: Mapping[str, Any]) -> bytes:
        transport, sequence = self._connections.get(record["connection"], ("", {}))
        if not transport:  # it carried nothing that was copied
            return b""
        if sequence is None:
            out = self._pdu({**record, "transport": transport, "direction": "down"}, "closed", b"")
        else:
            out = (
                self._segment(record, "down", _FIN | _ACK, comments=self._comments(record))
                + self._segment(record, "up", _FIN | _ACK)
                + self._segment(record, "down", _ACK)
            )
        del self._connections[record["connection"]]
        return out

    def _segment(
        self,
        record: Mapping[str, Any],
        direction: str,
        flags: int,
        payload: bytes = b"",
        *,
        options: bytes = b"",
        comments: Sequence[str] = (),
    ) -> bytes:
        number = record["connection"]
        transport, sequence = self._connections[number]
        assert sequence is not None
        acknowledged = sequence[_OTHER[direction]] if flags & _ACK else 0
        ports = _ports(number, direction, _HTTP_PORT)
        fields = (sequence[direction], acknowledged, (5 + len(options) // 4) << 4, flags, _WINDOW)
        header = ports + struct.pack("!IIBBHHH", *fields, 0, 0) + options
        addresses = _addresses(number, direction)
        pseudo = addresses + struct.pack("!HH", _TCP, len(header) + len(payload))
        checksum = _checksum(pseudo + header + payload)
        segment = header[:16] + checksum + header[18:] + payload
        sequence[direction] += len(payload) + bool(flags & (_SYN | _FIN))
        sequence[direction] %= 1 << 32
        packet = _ip(addresses, _TCP, len(segment)) + segment
        return self._packet(transport, _RAW_IP, record["at"], direction, packet, comments)

    # --- QUIC ------------------------------------------------------------------------------------

    def _datagram(self, record: Mapping[str, Any]) -> bytes:
        number, direction, size = record["connection"], record["direction"], record["packet"]
        self._connections.setdefault(number, (record["transport"], None))
        # RFC 768: a checksum of 0 says that there is none; it would need the bytes.
        header = _ports(number, direction, _QUIC_PORT) + struct.pack("!HH", 8 + size, 0)
        packet = _ip(_addresses(number, direction), _UDP, 8 + size) + header
        comments = self._comments(record)
        return self._packet(
            *(record["transport"], _RAW_IP, record["at"], direction, packet, comments),
            missing=size,
        )

    def _pdu(self, record: Mapping[str, Any], info: str, data: bytes) -> bytes:
        number, direction, transport = (
            record["connection"],
            record["direction"],
            record["transport"],
        )
        self._connections.setdefault(number, (transport, None))
        addresses = _addresses(number, direction)
        ports = _ports(number, direction, _QUIC_PORT)
        tags = (
            (_DISSECTOR, b"json" if _is_json(record, data) else b"data-text-lines"),
            (_SOURCE, addresses[:4]),
            (_TARGET, addresses[4:]),
            (_PORT_TYPE, struct.pack("!I", _PORT_TYPE_UDP)),
            (_SOURCE_PORT, bytes(2) + ports[:2]),
            (_TARGET_PORT, bytes(2) + ports[2:]),
            (_PROTOCOL_COLUMN, transport.encode()),
            (_INFO_COLUMN, info.encode()),
            (0, b""),
        )
        # Unlike that of an option, the length of a tag includes its padding.
        values = [(tag, _padded(value)) for tag, value in tags]
        head = b"".join(struct.pack("!HH", tag, len(value)) + value for tag, value in values)
        comments = self._comments(record)
        return self._packet(transport, _UPPER_PDU, record["at"], direction, head + data, comments)

    # --- blocks ----------------------------------------------------------------------------------

    def _comments(self, record: Mapping[str, Any]) -> list[str]:
        dropped, self._dropped = self._dropped, 0
        note = [f"{dropped} bytes before this packet are missing"] if dropped else []
        return [*record.get("comments", ()), *note]

    def _packet(
        self,
        transport: str,
        link: int,
        at: float,
        direction: str,
        data: bytes,
        comments: Sequence[str],
        *,
        missing: int = 0,
    ) -> bytes:
        """Return a packet block; `missing` bytes of the packet follow `data`."""
        out, key = b"", (transport, link)
        if key not in self._interfaces:
            name = _option(_NAME, transport.encode())
            out = _block(_INTERFACE, struct.pack("<HHI", link, 0, 0), name)
            # The names of the two sides come after the first interface: where none follows the
            # section at once, Wireshark's tools know no type of link, and cannot write the file.
            if not self._interfaces:
                out += _block(_NAMES, _name_records())
            self._interfaces[key] = len(self._interfaces)
        options = b"".join(_option(_COMMENT, comment.encode()) for comment in comments)
        options += _option(_FLAGS, struct.pack("<I", _DIRECTION_FLAG[direction]))
        high, low = divmod(int(at * 1_000 + 0.5), 1 << 32)  # microseconds, the default
        size = len(data)
        head = struct.pack("<IIIII", self._interfaces[key], high, low, size, size + missing)
        return out + _block(_PACKET, head + _padded(data), options)


def _info(record: Mapping[str, Any]) -> str:
    return f"stream {record['stream']}" if "stream" in record else "datagram"


def _block(kind: int, body: bytes, options: bytes = b"") -> bytes:
    """Return a block, whose length is at both ends; an option of type 0 ends its options."""
    body += options + bytes(4) if options else b""
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _name_records() -> bytes:
    names = ((_SERVER, _SERVER_NAME), (struct.pack("!I", _FIRST_CLIENT), _CLIENT_NAME))
    values = [address + name.encode() + b"\0" for address, name in names]
    return b"".join(_option(1, value) for value in values) + bytes(4)


def _addresses(number: int, direction: str) -> bytes:
    """Return the source and the target address of a packet."""
    client = struct.pack("!I", _FIRST_CLIENT + number // _PORTS)
    return client + _SERVER if direction == "up" else _SERVER + client


def _ports(number: int, direction: str, server: int) -> bytes:
    client = _FIRST_PORT + number % _PORTS
    return struct.pack("!HH", *((client, server) if direction == "up" else (server, client)))


def _ip(addresses: bytes, protocol: int, length: int) -> bytes:
    """Return an IPv4 header (RFC 791 §3.1): 20 bytes, "don't fragment", a TTL of 64."""
    fields = (0x45, 0, 20 + length, 0, 0x4000, 64, protocol, 0)
    header = struct.pack("!BBHHHBBH", *fields) + addresses
    return header[:10] + _checksum(header) + header[12:]


def _checksum(data: bytes) -> bytes:
    """Return the Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def _is_json(record: Mapping[str, Any], data: bytes) -> bool:
    """Return whether these bytes are one JSON object: a datagram, or one complete line."""
    end = -1 if record.get("datagram") else len(data) - 1
    return data[:1] == b"{" and data.find(b"\n") == end
