// Reads a capture file that pcapng.js or `realtime capture` wrote, perhaps with comments that Wireshark has
// added, back into the records of a tap.  A file can be anything, so everything is checked.

import { concat } from "./http.js";
import * as format from "./pcapng_format.js";

export const MAX_FILE_BYTES = 16 * 2 ** 20;
// So many take some ten seconds to show.
const MAX_PACKETS = 100_000;
const MAX_TIME = 8.64e15; // ms: a Date holds no more
const MAX_NAME = 32; // of a transport
const IP_BYTES = 20;
const utf8 = new TextDecoder();

/** The page has a text for each `code`, such as `capture.error.too_large`. */
export class CaptureError extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/** The records of a file; throws a CaptureError. */
export function readPcapng(bytes) {
  if (bytes.length > MAX_FILE_BYTES) throw new CaptureError("too_large");
  const reader = new Reader(bytes);
  try {
    reader.read();
  } catch (error) {
    // A length that leads outside of the file or of its block.
    throw error instanceof RangeError ? new CaptureError("damaged") : error;
  }
  if (!reader.records.length) throw new CaptureError("empty");
  return reader.records;
}

class Reader {
  records = [];
  #bytes;
  #view;
  #little = true;
  #interfaces = []; // {link, transport} of the section
  #packets = 0;
  #pieces = new Map(); // connection and direction: segments of an incomplete record, and its first values
  #comments = new Map(); // connection: comments of its handshake, which the first record gets

  constructor(bytes) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  read() {
    if (this.#bytes.length < 12) throw new CaptureError(this.#bytes.length ? "not_pcapng" : "empty");
    let at = 0;
    while (at < this.#bytes.length) at = this.#block(at);
    for (const piece of this.#pieces.values()) this.#complete(piece);
  }

  #block(at) {
    const kind = this.#view.getUint32(at, true);
    if (kind === format.SECTION) this.#section(at);
    else if (at === 0) throw new CaptureError("not_pcapng");
    const length = this.#u32(at + 4);
    const end = at + length;
    if (length < 12 || length % 4 || this.#u32(end - 4) !== length) throw new CaptureError("damaged");
    if (this.#u32(at) === format.INTERFACE) this.#interface(at + 8, end - 4);
    if (this.#u32(at) === format.PACKET) this.#packet(at + 8, end - 4);
    return end;
  }

  // The order of its bytes is that of the machine which wrote the section.
  #section(at) {
    this.#little = this.#view.getUint32(at + 8, true) === format.BYTE_ORDER;
    if (!this.#little && this.#view.getUint32(at + 8) !== format.BYTE_ORDER) throw new CaptureError("not_pcapng");
    this.#interfaces = [];
  }

  #interface(at, end) {
    const [name] = this.#options(at + 8, end, format.NAME);
    this.#interfaces.push({ link: this.#u16(at), transport: (name ?? "").slice(0, MAX_NAME) });
  }

  #packet(at, end) {
    this.#packets += 1;
    if (this.#packets > MAX_PACKETS) throw new CaptureError("too_large");
    const { link, transport } = this.#interfaces[this.#u32(at)] ?? {};
    const time = (this.#u32(at + 4) * 2 ** 32 + this.#u32(at + 8)) / 1_000;
    const length = this.#u32(at + 12);
    const start = at + 20;
    const options = start + length + ((4 - (length % 4)) % 4);
    if (options > end || time > MAX_TIME) throw new CaptureError("damaged");
    const data = this.#bytes.subarray(start, start + length);
    const values = { transport, at: time, comments: this.#options(options, end, format.COMMENT) };
    if (link === format.RAW_IP) this.#ip(data, values);
    else if (link === format.UPPER_PDU) this.#pdu(data, values);
    else throw new CaptureError("foreign");
  }

  /** The values of all options with this code, as text. */
  #options(at, end, code) {
    const found = [];
    while (at + 4 <= end && this.#u16(at)) {
      const length = this.#u16(at + 2);
      if (at + 4 + length > end) throw new CaptureError("damaged");
      if (this.#u16(at) === code) found.push(utf8.decode(this.#bytes.subarray(at + 4, at + 4 + length)));
      at += 4 + length + ((4 - (length % 4)) % 4);
    }
    return found;
  }

  // --- packets -------------------------------------------------------------------------------------

  #ip(data, values) {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const protocol = view.getUint8(9);
    if (view.getUint8(0) !== 0x45) throw new CaptureError("foreign");
    const addresses = [data.subarray(12, 16), data.subarray(16, 20)];
    const ports = [view.getUint16(IP_BYTES), view.getUint16(IP_BYTES + 2)];
    const known = { ...values, ...endpoints(addresses, ports) };
    if (protocol === format.UDP) this.#add(known, { packet: view.getUint16(IP_BYTES + 4) - 8 });
    else if (protocol === format.TCP) this.#segment(known, view, data);
    else throw new CaptureError("foreign");
  }

  #segment(values, view, data) {
    const flags = view.getUint8(IP_BYTES + 13);
    const payload = data.subarray(IP_BYTES + (view.getUint8(IP_BYTES + 12) >> 4) * 4);
    if (flags & format.FIN && values.direction === "down") {
      const { connection, at, comments } = values;
      this.#add({ connection, at, comments }, { closed: true });
    }
    else if (!payload.length) this.#keep(values);
    if (!payload.length) return;
    const key = `${values.connection} ${values.direction}`;
    const piece = this.#pieces.get(key) ?? { values: { ...values, comments: [] }, payloads: [] };
    piece.values.comments.push(...this.#takeKept(values), ...values.comments);
    piece.payloads.push(payload);
    if (flags & format.PSH) this.#complete(piece);
    if (flags & format.PSH) this.#pieces.delete(key);
    else this.#pieces.set(key, piece);
  }

  #keep({ connection, comments }) {
    const own = comments.filter((comment) => !format.HANDSHAKE_NOTE.test(comment));
    this.#comments.set(connection, [...(this.#comments.get(connection) ?? []), ...own]);
  }

  #takeKept({ connection }) {
    const kept = this.#comments.get(connection) ?? [];
    this.#comments.delete(connection);
    return kept;
  }

  #complete({ values, payloads }) {
    this.#add(values, { bytes: concat(payloads) });
  }

  #pdu(data, values) {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const tags = new Map();
    let at = 0;
    while (view.getUint16(at)) {
      const length = view.getUint16(at + 2);
      tags.set(view.getUint16(at), data.subarray(at + 4, at + 4 + length));
      at += 4 + length;
    }
    const addresses = [tags.get(format.SOURCE), tags.get(format.TARGET)];
    const ports = [format.SOURCE_PORT, format.TARGET_PORT].map((tag) => {
      const value = tags.get(tag) ?? [];
      return value[2] * 256 + value[3];
    });
    const known = { ...values, ...endpoints(addresses, ports) };
    const info = utf8.decode(tags.get(format.INFO_COLUMN)).replace(/\0+$/, "");
    const [, stream] = /^stream (\d{1,15})$/.exec(info) ?? [];
    if (info === "closed") {
      this.#add({ connection: known.connection, at: known.at, comments: known.comments }, { closed: true });
    } else {
      const more = stream === undefined ? { datagram: true } : { stream: Number(stream) };
      this.#add(known, { bytes: data.subarray(at + 4), ...more });
    }
  }

  // What was missing is a record before this one; the other comments stay with it.
  #add({ comments, ...values }, more) {
    const others = comments.filter((comment) => !format.MISSING_NOTE.test(comment));
    const missing = comments.map((comment) => format.MISSING_NOTE.exec(comment)?.[1]).find(Boolean);
    if (missing) this.records.push({ dropped: Number(missing) });
    this.records.push({ ...values, ...more, ...(others.length ? { comments: others } : {}) });
  }

  #u16(at) {
    return this.#view.getUint16(at, this.#little);
  }

  #u32(at) {
    return this.#view.getUint32(at, this.#little);
  }
}

// Which connection a packet belongs to, and its direction.
function endpoints([source, target], [sourcePort, targetPort]) {
  const up = isServer(target);
  if (!up && !isServer(source)) throw new CaptureError("foreign");
  const [address, port] = up ? [source, sourcePort] : [target, targetPort];
  const number = new DataView(Uint8Array.from(address ?? []).buffer).getUint32(0) - format.FIRST_CLIENT;
  const offset = port - format.FIRST_PORT;
  if (!(number >= 0 && offset >= 0 && offset < format.PORTS)) throw new CaptureError("foreign");
  return { connection: number * format.PORTS + offset, direction: up ? "up" : "down" };
}

function isServer(address) {
  return address?.length === 4 && format.SERVER.every((byte, n) => byte === address[n]);
}
