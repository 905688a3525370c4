// Captured traffic, parsed into messages and their parts: requests, responses and frames of all the
// connections that a tap reports.  It keeps only the parsers' state, no bytes.

import { FrameParser } from "./frames.js";
import { HTTPParser, parseRequestLine, parseStatusLine, requestLength, responseLength } from "./http.js";
import { isQuic, QuicConnection } from "./quic.js";

/**
 * Feed it the records of a tap.  It calls
 *
 *   onPart({connection, direction, at, message, unit, kind, bytes, size})  which bytes are which part
 *   onMessage(message)                                                     a message started, grew or ended
 *
 * A message is `{id, connection, transport, direction, kind: "request" | "response" | "frame", startedAt,
 * endedAt, bytes, bodyBytes}` with times in ms, and the values of its head: `startLine`, `method`,
 * `target`, `status`, `fields` (a Map with lower-case names); a response has its `request`, a frame has
 * `fin`, `rsv`, `opcode`, `masked`, `mask`, `length`.  Bytes that are not HTTP belong to a message of kind
 * "unknown".  On a QUIC connection the kinds are "packet", "line" and "datagram" (see quic.js).  `unit` names a
 * piece that stands for itself: a frame, a line, a chunk, or a head with a body that has no chunks.
 */
export class TrafficParser {
  #connections = new Map();
  #onMessage;
  #onPart;
  #ids = 0;

  constructor({ onMessage = () => {}, onPart = () => {} } = {}) {
    this.#onMessage = onMessage;
    this.#onPart = onPart;
  }

  feed(record) {
    if (record.closed) this.#close(record);
    else if (record.bytes || isQuic(record)) this.#connection(record).feed(record);
  }

  #connection(record) {
    const number = record.connection;
    let connection = this.#connections.get(number);
    if (!connection) {
      const output = { onMessage: this.#onMessage, onPart: this.#onPart, nextId: () => ++this.#ids, unitOf };
      connection = isQuic(record) ? new QuicConnection(number, output) : new Connection(number, output);
      this.#connections.set(number, connection);
    }
    return connection;
  }

  #close({ connection: number, at }) {
    this.#connections.get(number)?.close(at);
    this.#connections.delete(number);
  }
}

/** The unit of the latest part of a message. */
export function unitOf({ id, chunks }) {
  return `${id}.${chunks}`;
}

class Connection {
  #number;
  #output;
  #pendingRequests = []; // their responses have not started
  #current = {}; // direction: the message in progress
  #record;
  #parsers;

  constructor(number, output) {
    this.#number = number;
    this.#output = output;
    this.#parsers = {
      up: new HTTPParser(parseRequestLine, this.#listener("up", "request")),
      down: new HTTPParser(parseStatusLine, this.#listener("down", "response")),
    };
  }

  feed(record) {
    this.#record = record;
    const rest = this.#parsers[record.direction].feed(record.bytes);
    // One record may hold the end of the handshake and the first frames.
    if (rest?.length) this.#parsers[record.direction].feed(rest);
  }

  close(at) {
    this.#record = { at };
    for (const direction of Object.keys(this.#current)) this.#complete(direction);
  }

  #listener(direction, kind) {
    return {
      onMessageBegin: (parsed) => this.#begin(direction, kind, parsed),
      onPart: (part, bytes) => this.#part(direction, part, bytes),
      onHeadersComplete: (fields) => this.#headersComplete(direction, fields),
      onMessageComplete: () => this.#complete(direction),
    };
  }

  #begin(direction, kind, parsed) {
    const { at, transport } = this.#record;
    const message = {
      id: this.#output.nextId(), connection: this.#number, transport, direction, kind, startedAt: at,
      bytes: 0, bodyBytes: 0, chunks: 0,
    };
    if (kind === "response") message.request = this.#pendingRequests[0];
    // The parser still adds to a frame's object, so this object itself becomes the message.
    this.#current[direction] = kind === "frame" ? Object.assign(parsed, message) : { ...message, ...parsed };
    if (kind === "request") this.#pendingRequests.push(this.#current[direction]);
  }

  #part(direction, kind, bytes) {
    if (!this.#current[direction]) this.#begin(direction, "unknown", {});
    const message = this.#current[direction];
    message.bytes += bytes.length;
    if (["body", "chunk-data", "frame-payload"].includes(kind)) message.bodyBytes += bytes.length;
    if (kind === "chunk-size" || kind === "last-chunk") message.chunks += 1;
    const { at } = this.#record;
    const unit = unitOf(message);
    this.#output.onPart({ connection: this.#number, direction, at, message, unit, kind, bytes });
    this.#output.onMessage(message);
  }

  #headersComplete(direction, fields) {
    const message = this.#current[direction];
    message.fields = fields;
    if (direction === "up") return requestLength(fields);
    // After an interim response (1xx) the final one follows, except after 101 Switching Protocols.
    if (message.status >= 200 || message.status === 101) this.#pendingRequests.shift();
    const length = responseLength(fields, message.status, message.request?.method);
    if (length === "other") this.#upgrade();
    return length;
  }

  // RFC 6455 §4.2.2: after the 101 both directions are frames.
  #upgrade() {
    for (const direction of ["up", "down"]) {
      this.#parsers[direction] = new FrameParser(this.#listener(direction, "frame"));
    }
  }

  #complete(direction) {
    const message = this.#current[direction];
    if (!message) return;
    message.endedAt = this.#record.at;
    delete this.#current[direction];
    this.#output.onMessage(message);
  }
}
