// Capture files: the records of a tap as pcapng, which Wireshark and tshark open.  The IP and TCP headers are
// synthesised; realtime/protocol/pcapng.py explains them, and writes the same bytes.

import { concat } from "./http.js";
import * as format from "./pcapng_format.js";

const NOTE = "Recorded at the server's socket by realtime. The bytes inside of TCP are real. The IP and TCP "
  + "headers, handshakes, addresses and ports are synthesised: port 80 stands for the port of the "
  + "server, client port 40000 + n is connection n. QUIC is encrypted: its packets have only their "
  + "size here, and its plain bytes follow as exported PDUs. Secrets are asterisks of equal length. "
  + "Wireshark dissects a response when it has ended; to see each chunk of a stream, set "
  + "http.desegment_body and http.dechunk_body to FALSE, and for JSON in the frames of a WebSocket "
  + "websocket.text_type to As json.";
const HTTP_PORT = 80;
const QUIC_PORT = 443;
const SEGMENT_BYTES = 1_460;
// MSS, and a window of 1 GiB: a smaller one would need acknowledgements, which we do not know.
const SYN_OPTIONS = [2, 4, ...be16(SEGMENT_BYTES), 1, 3, 3, 14];
const WINDOW = 65_535;
const APPLICATION = 4; // an option of the section
const FLAGS = 2; // an option of a packet: received or sent by the server
const DIRECTION_FLAG = { up: 1, down: 2 };
const OTHER = { up: "down", down: "up" };

const { FIN, SYN, PSH, ACK } = format;
const utf8 = new TextEncoder();

/** Turns records of a tap (see tap.js) into the bytes of a capture file, one by one. */
export class PcapngWriter {
  #interfaces = new Map();
  #connections = new Map(); // number: {transport, next sequence numbers}
  #dropped = 0; // bytes that the tap did not copy, until a packet says so

  /** The start of the file, which says what it is. */
  start() {
    const options = [...option(format.COMMENT, utf8.encode(NOTE)), ...option(APPLICATION, utf8.encode("realtime"))];
    const section = [...le32(format.BYTE_ORDER), ...le16(1), ...le16(0), ...Array(8).fill(0xff)];
    return block(format.SECTION, section, options);
  }

  /** The blocks of one record; `comments` of it are kept with its first packet. */
  encode(record) {
    if (record.dropped) this.#dropped += record.dropped;
    if (record.closed) return concat(this.#close(record));
    if (record.packet !== undefined) return concat(this.#datagram(record));
    if (!record.bytes) return new Uint8Array();
    if (record.stream !== undefined) return concat(this.#pdu(record, `stream ${record.stream}`));
    if (record.datagram) return concat(this.#pdu(record, "datagram"));
    return concat(this.#segments(record));
  }

  // --- TCP -----------------------------------------------------------------------------------------

  #segments(record) {
    const { connection, direction, bytes } = record;
    let comments = this.#comments(record);
    const out = this.#connections.has(connection) ? [] : this.#open(record);
    for (let start = 0; start < bytes.length; start += SEGMENT_BYTES) {
      const payload = bytes.subarray(start, start + SEGMENT_BYTES);
      // PSH ends what was written at once (RFC 9293 §3.9.1.2): so a reader finds the record.
      const last = start + SEGMENT_BYTES >= bytes.length;
      out.push(...this.#segment(record, direction, last ? PSH | ACK : ACK, { payload, comments }));
      comments = [];
    }
    return out;
  }

  #open(record) {
    const { connection, transport } = record;
    this.#connections.set(connection, { transport, up: 0, down: 0 });
    const comments = [format.handshakeNote(connection, transport)];
    return [
      ...this.#segment(record, "up", SYN, { options: SYN_OPTIONS, comments }),
      ...this.#segment(record, "down", SYN | ACK, { options: SYN_OPTIONS }),
      ...this.#segment(record, "up", ACK),
    ];
  }

  #close(record) {
    const known = this.#connections.get(record.connection);
    if (!known) return []; // it carried nothing that was copied
    const { transport } = known;
    const out = known.up === undefined
      ? this.#pdu({ ...record, transport, direction: "down", bytes: new Uint8Array() }, "closed")
      : [
        ...this.#segment(record, "down", FIN | ACK, { comments: this.#comments(record) }),
        ...this.#segment(record, "up", FIN | ACK),
        ...this.#segment(record, "down", ACK),
      ];
    this.#connections.delete(record.connection);
    return out;
  }

  #segment({ connection, at }, direction, flags, { payload = new Uint8Array(), options = [], comments = [] } = {}) {
    const known = this.#connections.get(connection);
    const acknowledged = flags & ACK ? known[OTHER[direction]] : 0;
    const header = [
      ...ports(connection, direction, HTTP_PORT), ...be32(known[direction]), ...be32(acknowledged),
      (5 + options.length / 4) << 4, flags, ...be16(WINDOW), 0, 0, 0, 0, ...options,
    ];
    const addresses = addressesOf(connection, direction);
    const length = header.length + payload.length;
    const checksum = checksumOf([...addresses, ...be16(format.TCP), ...be16(length), ...header], payload);
    header.splice(16, 2, ...be16(checksum));
    known[direction] = (known[direction] + payload.length + (flags & (SYN | FIN) ? 1 : 0)) % 2 ** 32;
    const packet = concat([Uint8Array.from([...ip(addresses, format.TCP, length), ...header]), payload]);
    return this.#packet(known.transport, format.RAW_IP, at, direction, packet, comments);
  }

  // --- QUIC ----------------------------------------------------------------------------------------

  #datagram(record) {
    const { connection, transport, direction, at, packet: size } = record;
    this.#knowQuic(record);
    // RFC 768: a checksum of 0 says that there is none; it would need the bytes.
    const header = [...ports(connection, direction, QUIC_PORT), ...be16(8 + size), 0, 0];
    const packet = Uint8Array.from([...ip(addressesOf(connection, direction), format.UDP, 8 + size), ...header]);
    return this.#packet(transport, format.RAW_IP, at, direction, packet, this.#comments(record), size);
  }

  #pdu(record, info) {
    const { connection, transport, direction, at, bytes } = record;
    this.#knowQuic(record);
    const addresses = addressesOf(connection, direction);
    const numbers = ports(connection, direction, QUIC_PORT);
    const head = [
      [12, utf8.encode(isJson(record) ? "json" : "data-text-lines")], // the dissector
      [format.SOURCE, addresses.slice(0, 4)],
      [format.TARGET, addresses.slice(4)],
      [24, be32(3)], // the type of the ports: UDP
      [format.SOURCE_PORT, [0, 0, ...numbers.slice(0, 2)]],
      [format.TARGET_PORT, [0, 0, ...numbers.slice(2)]],
      [33, utf8.encode(transport)], // the column of the protocol
      [format.INFO_COLUMN, utf8.encode(info)],
      [0, []],
      // Unlike that of an option, the length of a tag includes its padding.
    ].flatMap(([tag, value]) => [...be16(tag), ...be16(padded(value).length), ...padded(value)]);
    const data = concat([Uint8Array.from(head), bytes]);
    return this.#packet(transport, format.UPPER_PDU, at, direction, data, this.#comments(record));
  }

  #knowQuic({ connection, transport }) {
    if (!this.#connections.has(connection)) this.#connections.set(connection, { transport });
  }

  // --- blocks --------------------------------------------------------------------------------------

  #comments({ comments = [] }) {
    const note = this.#dropped ? [format.missingNote(this.#dropped)] : [];
    this.#dropped = 0;
    return [...comments, ...note];
  }

  // `missing` bytes of the packet follow `data`.
  #packet(transport, link, at, direction, data, comments, missing = 0) {
    const out = [];
    const key = `${link} ${transport}`;
    if (!this.#interfaces.has(key)) {
      const name = option(format.NAME, utf8.encode(transport));
      out.push(block(format.INTERFACE, [...le16(link), 0, 0, 0, 0, 0, 0], name));
      // The names of the two sides come after the first interface: where none follows the section at once,
      // Wireshark's tools know no type of link, and cannot write the file.
      if (!this.#interfaces.size) out.push(block(format.NAMES, nameRecords()));
      this.#interfaces.set(key, this.#interfaces.size);
    }
    const options = comments.flatMap((comment) => option(format.COMMENT, utf8.encode(comment)));
    options.push(...option(FLAGS, le32(DIRECTION_FLAG[direction])));
    const time = Math.floor(at * 1_000 + 0.5); // microseconds, the default
    const numbers = [this.#interfaces.get(key), Math.floor(time / 2 ** 32), time % 2 ** 32];
    const head = [...numbers, data.length, data.length + missing].flatMap(le32);
    out.push(block(format.PACKET, concat([Uint8Array.from(head), data, padding(data)]), options));
    return out;
  }
}

/** A whole file. */
export function writePcapng(records) {
  const writer = new PcapngWriter();
  return concat([writer.start(), ...records.map((record) => writer.encode(record))]);
}

// A block has its length at both ends; an option of type 0 ends its options.
function block(kind, body, options = []) {
  const rest = options.length ? [...options, 0, 0, 0, 0] : [];
  const length = le32(body.length + rest.length + 12);
  return concat([Uint8Array.from([...le32(kind), ...length]), Uint8Array.from(body), Uint8Array.from([...rest, ...length])]);
}

function option(code, value) {
  return [...le16(code), ...le16(value.length), ...padded(value)];
}

function padded(value) {
  return [...value, ...padding(value)];
}

function padding({ length }) {
  return new Uint8Array((4 - (length % 4)) % 4);
}

function nameRecords() {
  const names = [[format.SERVER, "server"], [be32(format.FIRST_CLIENT), "client"]];
  return [...names.flatMap(([address, name]) => option(1, [...address, ...utf8.encode(name), 0])), 0, 0, 0, 0];
}

// The source and the target address of a packet.
function addressesOf(connection, direction) {
  const client = be32(format.FIRST_CLIENT + Math.floor(connection / format.PORTS));
  return direction === "up" ? [...client, ...format.SERVER] : [...format.SERVER, ...client];
}

function ports(connection, direction, server) {
  const client = format.FIRST_PORT + (connection % format.PORTS);
  return direction === "up" ? [...be16(client), ...be16(server)] : [...be16(server), ...be16(client)];
}

// An IPv4 header (RFC 791 §3.1): 20 bytes, "don't fragment", a TTL of 64.
function ip(addresses, protocol, length) {
  const header = [0x45, 0, ...be16(20 + length), 0, 0, 0x40, 0, 64, protocol, 0, 0, ...addresses];
  header.splice(10, 2, ...be16(checksumOf(header)));
  return header;
}

// The Internet checksum (RFC 1071); `head` has an even length.
function checksumOf(head, data = []) {
  let total = 0;
  for (const bytes of [head, data]) {
    for (let n = 0; n < bytes.length; n += 2) total += bytes[n] * 256 + (bytes[n + 1] ?? 0);
  }
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

function be16(value) {
  return [value >>> 8, value & 0xff];
}

function be32(value) {
  return [...be16(Math.floor(value / 65_536)), ...be16(value % 65_536)];
}

function le16(value) {
  return be16(value).reverse();
}

function le32(value) {
  return be32(value).reverse();
}

// One JSON object: a datagram, or one complete line.
function isJson({ bytes, datagram }) {
  return bytes[0] === 0x7b && bytes.indexOf(0x0a) === (datagram ? -1 : bytes.length - 1);
}
