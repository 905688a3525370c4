// What crosses the wire, as messages and their parts: requests, answers and frames, of all the
// connections that a tap shows.  Pieces go in as they crossed; nothing is kept but where we are.

import { FrameReader } from "./frames.js";
import { answerLength, HTTPReader, parseRequestLine, parseStatusLine, requestLength } from "./http.js";

/**
 * Feed it the pieces of a tap.  It tells
 *
 *   onPart({connection, direction, at, message, kind, bytes})      which bytes are what
 *   onMessage(message)                                             that one began, grew or ended
 *
 * A message is `{id, connection, transport, direction, kind: "request" | "answer" | "frame", began,
 * ended, bytes, bodyBytes}` with `at` in ms, and what its head says: `startLine`, `method`, `target`,
 * `status`, `fields` (a Map, names in lower case), `answerTo` (the request's message); of a frame
 * `fin`, `rsv`, `opcode`, `masked`, `mask`, `length`.  Of what is no HTTP there is a message of kind
 * "unknown".
 */
export class Conversation {
  #connections = new Map();
  #onMessage;
  #onPart;
  #ids = 0;

  constructor({ onMessage = () => {}, onPart = () => {} } = {}) {
    this.#onMessage = onMessage;
    this.#onPart = onPart;
  }

  feed(piece) {
    if (piece.bytes) this.#connection(piece.connection).feed(piece);
    else if (piece.closed) this.#close(piece);
  }

  #connection(number) {
    let connection = this.#connections.get(number);
    if (!connection) {
      const tell = { message: this.#onMessage, part: this.#onPart, id: () => ++this.#ids };
      connection = new Connection(number, tell);
      this.#connections.set(number, connection);
    }
    return connection;
  }

  #close({ connection: number, at }) {
    this.#connections.get(number)?.close(at);
    this.#connections.delete(number);
  }
}

class Connection {
  #number;
  #tell;
  #asked = []; // requests whose answers have not begun
  #now = {}; // the message under way in each direction
  #piece;
  #readers;

  constructor(number, tell) {
    this.#number = number;
    this.#tell = tell;
    this.#readers = {
      up: new HTTPReader(parseRequestLine, this.#listen("up", "request")),
      down: new HTTPReader(parseStatusLine, this.#listen("down", "answer")),
    };
  }

  feed(piece) {
    this.#piece = piece;
    const rest = this.#readers[piece.direction].feed(piece.bytes);
    // The same piece may end the handshake and begin the frames.
    if (rest?.length) this.#readers[piece.direction].feed(rest);
  }

  close(at) {
    this.#piece = { at };
    for (const direction of Object.keys(this.#now)) this.#end(direction);
  }

  #listen(direction, kind) {
    return {
      begin: (parsed) => this.#begin(direction, kind, parsed),
      part: (part, bytes) => this.#part(direction, part, bytes),
      head: (fields) => this.#head(direction, fields),
      end: () => this.#end(direction),
    };
  }

  #begin(direction, kind, parsed) {
    const { at, transport } = this.#piece;
    const message = {
      id: this.#tell.id(), connection: this.#number, transport, direction, kind, began: at,
      bytes: 0, bodyBytes: 0,
    };
    if (kind === "answer") message.answerTo = this.#asked[0];
    // A frame's head is read on while it is told: it is this very object that grows.
    this.#now[direction] = kind === "frame" ? Object.assign(parsed, message) : { ...message, ...parsed };
    if (kind === "request") this.#asked.push(this.#now[direction]);
  }

  #part(direction, kind, bytes) {
    if (!this.#now[direction]) this.#begin(direction, "unknown", {});
    const message = this.#now[direction];
    message.bytes += bytes.length;
    if (["body", "chunk-data", "frame-payload"].includes(kind)) message.bodyBytes += bytes.length;
    const { at } = this.#piece;
    this.#tell.part({ connection: this.#number, direction, at, message, kind, bytes });
    this.#tell.message(message);
  }

  #head(direction, fields) {
    const message = this.#now[direction];
    message.fields = fields;
    if (direction === "up") return requestLength(fields);
    // An interim answer (1xx) is not yet the one; "101 Switching Protocols" is the last of its kind.
    if (message.status >= 200 || message.status === 101) this.#asked.shift();
    const length = answerLength(fields, message.status, message.answerTo?.method);
    if (length === "other") this.#upgrade();
    return length;
  }

  // RFC 6455 §4.2.2: after the 101 both directions are frames.
  #upgrade() {
    for (const direction of ["up", "down"]) {
      this.#readers[direction] = new FrameReader(this.#listen(direction, "frame"));
    }
  }

  #end(direction) {
    const message = this.#now[direction];
    if (!message) return;
    message.ended = this.#piece.at;
    delete this.#now[direction];
    this.#tell.message(message);
  }
}
