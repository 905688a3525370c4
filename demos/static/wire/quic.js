// A QUIC connection in captured traffic (RFC 9000).  Packets are encrypted, so the tap reports their sizes only; it
// reports in plain text what they carry: the header sections of the request, the lines of the server's stream, and
// datagrams.

const LINE_FEED = 10;
const NO_BYTES = new Uint8Array();
const CLIENT_STREAM = 0; // RFC 9000 §2.1: the two low bits of the number of a stream that the client has opened
const latin1 = new TextDecoder("latin1");

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
 * datagram is one, and so are the request and its response.  The part of a packet has a `size` and no bytes.
 */
export class QuicConnection {
  #number;
  #output;
  #lines = new Map(); // stream and direction: the line in progress
  #request;
  #response;

  /** `output` is {onMessage, onPart, nextId, unitOf}. */
  constructor(number, output) {
    this.#number = number;
    this.#output = output;
  }

  feed(record) {
    if (record.packet !== undefined) this.#single("packet", record, NO_BYTES, record.packet);
    else if (record.datagram) this.#single("datagram", record, record.bytes);
    else if (record.stream % 4 !== CLIENT_STREAM) this.#stream(record);
    else if (latin1.decode(record.bytes.subarray(0, 1)) === ":") this.#headerSection(record);
    else this.#body(record);
  }

  /** What is in progress stays incomplete. */
  close() {
    this.#lines.clear();
  }

  #single(kind, record, bytes, size) {
    const message = this.#begin(kind, record);
    this.#part(message, kind, { ...record, bytes }, size);
    this.#complete(message, record);
  }

  // --- the request -------------------------------------------------------------------------------

  // A section of HTTP/3 starts with pseudo-header fields (RFC 9114 §4.3).  The server shows it in one record.
  #headerSection(record) {
    const lines = linesOf(record.bytes);
    const fields = new Map(lines.map((line) => /^(:?[^:]+): (.*)/.exec(latin1.decode(line))?.slice(1)).filter(Boolean));
    const message = record.direction === "up" ? this.#beginRequest(fields, record) : this.#beginResponse(fields, record);
    for (const line of lines) this.#part(message, line.length > 2 ? "field" : "head-end", { ...record, bytes: line });
    // The stream of a session stays open; a refusal has a body.
    if (message === this.#request) this.#complete(message, record);
  }

  #beginRequest(fields, record) {
    const [method, target] = [fields.get(":method"), fields.get(":path")];
    const head = { fields, method, target, startLine: `${method} ${target}` };
    this.#request = Object.assign(this.#begin("request", record), head);
    return this.#request;
  }

  #beginResponse(fields, record) {
    const status = Number(fields.get(":status"));
    const head = { fields, status, startLine: `HTTP/3 ${status}`, request: this.#request };
    this.#response = Object.assign(this.#begin("response", record), head);
    return this.#response;
  }

  #body(record) {
    const message = this.#response;
    if (!message || record.direction === "up") return;
    this.#part(message, "body", record);
    this.#complete(message, record);
  }

  // --- lines -------------------------------------------------------------------------------------

  #stream(record) {
    const key = `${record.stream} ${record.direction}`;
    for (const piece of linesOf(record.bytes)) {
      const line = this.#lines.get(key) ?? this.#begin("line", record);
      const ends = piece.at(-1) === LINE_FEED;
      const text = ends ? piece.subarray(0, -1) : piece;
      if (text.length) this.#part(line, "line", { ...record, bytes: text });
      if (!ends) return void this.#lines.set(key, line);
      this.#part(line, "line-end", { ...record, bytes: piece.subarray(-1) });
      this.#complete(line, record);
      this.#lines.delete(key);
    }
  }

  // --- messages ----------------------------------------------------------------------------------

  #begin(kind, { transport, direction, stream, at }) {
    return {
      id: this.#output.nextId(), connection: this.#number, transport, direction, kind, stream, startedAt: at,
      bytes: 0, bodyBytes: 0, chunks: 0,
    };
  }

  #part(message, kind, { direction, at, bytes }, size) {
    // Header sections are compressed in their packets (RFC 9204): nobody knows in how many bytes.
    if (kind !== "field" && kind !== "head-end") message.bytes += size ?? bytes.length;
    if (["line", "datagram", "body"].includes(kind)) message.bodyBytes += bytes.length;
    const unit = this.#output.unitOf(message);
    this.#output.onPart({ connection: this.#number, direction, at, message, unit, kind, bytes, size });
    this.#output.onMessage(message);
  }

  #complete(message, { at }) {
    message.endedAt = at;
    this.#output.onMessage(message);
  }
}

/** Bytes cut after each line feed. */
function linesOf(bytes) {
  const found = [];
  for (let from = 0; from < bytes.length;) {
    const end = bytes.indexOf(LINE_FEED, from) + 1 || bytes.length;
    found.push(bytes.subarray(from, end));
    from = end;
  }
  return found;
}
