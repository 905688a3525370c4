// A QUIC connection in captured traffic (RFC 9000).  Packets are encrypted, so the tap reports their sizes only; it
// reports in plain text what the server's streams and datagrams carry in them.

const LINE_FEED = 10;
const NO_BYTES = new Uint8Array();

/** Whether a record of the tap belongs to a QUIC connection. */
export function isQuic({ packet, stream, datagram }) {
  return packet !== undefined || stream !== undefined || Boolean(datagram);
}

/** The bytes of a record that crossed the network: those of streams and datagrams are in packets already. */
export function networkBytes(record) {
  if (isQuic(record)) return record.packet ?? 0;
  return record.bytes?.length ?? 0;
}

/**
 * Reports the messages of one connection as traffic_parser.js does: each packet, each line of a stream and each
 * datagram is one.  The part of a packet has a `size` and no bytes.
 */
export class QuicConnection {
  #number;
  #output;
  #lines = new Map(); // stream and direction: the line in progress

  /** `output` is {onMessage, onPart, nextId, unitOf}. */
  constructor(number, output) {
    this.#number = number;
    this.#output = output;
  }

  feed(record) {
    if (record.packet !== undefined) this.#single("packet", record, NO_BYTES, record.packet);
    else if (record.datagram) this.#single("datagram", record, record.bytes);
    else this.#stream(record);
  }

  /** Lines in progress stay incomplete. */
  close() {
    this.#lines.clear();
  }

  #single(kind, record, bytes, size) {
    const message = this.#begin(kind, record);
    this.#part(message, kind, { ...record, bytes }, size);
    this.#complete(message, record);
  }

  #stream(record) {
    let rest = record.bytes;
    while (rest.length) {
      const end = rest.indexOf(LINE_FEED);
      const length = end < 0 ? rest.length : end;
      const key = `${record.stream} ${record.direction}`;
      const line = this.#lines.get(key) ?? this.#begin("line", record);
      if (length) this.#part(line, "line", { ...record, bytes: rest.subarray(0, length) });
      if (end < 0) return void this.#lines.set(key, line);
      this.#part(line, "line-end", { ...record, bytes: rest.subarray(end, end + 1) });
      this.#complete(line, record);
      this.#lines.delete(key);
      rest = rest.subarray(end + 1);
    }
  }

  #begin(kind, { transport, direction, stream, at }) {
    return {
      id: this.#output.nextId(), connection: this.#number, transport, direction, kind, stream, startedAt: at,
      bytes: 0, bodyBytes: 0, chunks: 0,
    };
  }

  #part(message, kind, { direction, at, bytes }, size) {
    message.bytes += size ?? bytes.length;
    if (kind !== "packet" && kind !== "line-end") message.bodyBytes += bytes.length;
    const unit = this.#output.unitOf(message);
    this.#output.onPart({ connection: this.#number, direction, at, message, unit, kind, bytes, size });
    this.#output.onMessage(message);
  }

  #complete(message, { at }) {
    message.endedAt = at;
    this.#output.onMessage(message);
  }
}
