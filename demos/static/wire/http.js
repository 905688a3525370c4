// HTTP/1.1, cut into its parts (RFC 9112), for bytes that come in pieces of any size.
// Nothing here knows of a page: a reader tells a listener which bytes are what.

// A line longer than this is none: servers refuse far shorter ones.
const MOST_LINE = 65_536;
const LF = 10;

const REQUEST_LINE = /^(\S+) (\S+) HTTP\/1\.[01]$/;
const STATUS_LINE = /^HTTP\/1\.[01] ([1-5]\d\d)(?: .*)?$/;
const CHUNK_SIZE = /^([0-9A-Fa-f]{1,12})[ \t]*(?:;.*)?$/;

class Faulty extends Error {}

/**
 * Reads the messages of one direction of one connection.  `listener` is told
 *
 *   part(kind, bytes)          the next bytes, and what they are
 *   begin(parsed), head(fields) → how long the body is, end()
 *
 * where a length is a number, "chunked", "close" (until the connection ends) or "other" (what follows
 * is no HTTP any more, and is given back by `feed`).
 */
export class HTTPReader {
  #listener;
  #parse;
  #read = this.#startLine;
  #held = []; // pieces of a line that is not whole yet
  #heldBytes = 0;
  #left = 0; // bytes of body still to come
  #kind = "body";
  #fields;
  #done = false;

  /** `parse(line)` gives what a first line says, or undefined if it is none. */
  constructor(parse, listener) {
    this.#parse = parse;
    this.#listener = listener;
  }

  /** Take the next bytes; give those that are not HTTP any more. */
  feed(bytes) {
    let rest = bytes;
    try {
      while (rest.length && !this.#done) rest = this.#left ? this.#skip(rest) : this.#line(rest);
    } catch (error) {
      if (!(error instanceof Faulty)) throw error;
      return this.#giveUp(rest);
    }
    return rest;
  }

  // The line that is none begins in `#held` and goes on in `rest`, whose part of it is held, too.
  #giveUp(rest) {
    this.#held.pop();
    if (this.#held.length) this.#listener.part("unknown", join(this.#held));
    this.#left = Infinity;
    this.#kind = "unknown";
    return this.feed(rest);
  }

  #skip(bytes) {
    const count = Math.min(bytes.length, this.#left);
    this.#left -= count;
    this.#listener.part(this.#kind, bytes.subarray(0, count));
    if (!this.#left && this.#read === this.#startLine) this.#listener.end();
    return bytes.subarray(count);
  }

  #line(bytes) {
    const end = bytes.indexOf(LF) + 1 || bytes.length;
    this.#held.push(bytes.subarray(0, end));
    this.#heldBytes += end;
    const rest = bytes.subarray(end);
    if (this.#heldBytes > MOST_LINE) throw new Faulty();
    if (bytes[end - 1] !== LF) return rest;
    const whole = join(this.#held);
    this.#read(whole, text(whole).replace(/\r?\n$/, ""));
    this.#held = [];
    this.#heldBytes = 0;
    return rest;
  }

  // --- a message, from its first line to its last ------------------------------------------------

  #startLine(bytes, line) {
    const parsed = this.#parse(line);
    if (!parsed) throw new Faulty();
    this.#fields = new Map();
    this.#listener.begin(parsed);
    this.#listener.part("start-line", bytes);
    this.#read = this.#field;
  }

  #field(bytes, line) {
    if (!line) return this.#body(bytes);
    const [, name, value] = /^([^\s:]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (!name) throw new Faulty();
    const known = this.#fields.get(name.toLowerCase());
    this.#fields.set(name.toLowerCase(), known === undefined ? value : `${known}, ${value}`);
    this.#listener.part("field", bytes);
  }

  #body(bytes) {
    const length = this.#listener.head(this.#fields);
    this.#listener.part("head-end", bytes);
    this.#read = length === "chunked" ? this.#chunkSize : this.#startLine;
    this.#kind = length === "chunked" ? "chunk-data" : "body";
    this.#done = length === "other";
    if (length === "close") this.#left = Infinity;
    else if (length > 0) this.#left = length;
    else if (length !== "chunked") this.#listener.end();
  }

  // RFC 9112 §7.1: chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
  #chunkSize(bytes, line) {
    const [, size] = CHUNK_SIZE.exec(line) ?? [];
    if (size === undefined) throw new Faulty();
    this.#left = parseInt(size, 16);
    this.#listener.part(this.#left ? "chunk-size" : "last-chunk", bytes);
    this.#read = this.#left ? this.#chunkEnd : this.#trailer;
  }

  #chunkEnd(bytes, line) {
    if (line) throw new Faulty();
    this.#listener.part("chunk-end", bytes);
    this.#read = this.#chunkSize;
  }

  #trailer(bytes, line) {
    this.#listener.part(line ? "trailer" : "chunk-end", bytes);
    if (line) return;
    this.#read = this.#startLine;
    this.#listener.end();
  }
}

export function parseRequestLine(line) {
  const [, method, target] = REQUEST_LINE.exec(line) ?? [];
  return method && { startLine: line, method, target };
}

export function parseStatusLine(line) {
  const [, status] = STATUS_LINE.exec(line) ?? [];
  return status && { startLine: line, status: Number(status) };
}

/** How long the body of a request is (RFC 9112 §6.3). */
export function requestLength(fields) {
  return declared(fields) ?? 0;
}

/** How long the body of an answer is, to a request of this `method`. */
export function answerLength(fields, status, method) {
  if (status === 101) return "other";
  // §6.3, 1: these are "always terminated by the first empty line after the header fields".
  if (status < 200 || status === 204 || status === 304 || method === "HEAD") return 0;
  return declared(fields) ?? "close";
}

function declared(fields) {
  // §6.3, 3: "the Transfer-Encoding overrides the Content-Length."
  if (/(^|,)\s*chunked$/i.test(fields.get("transfer-encoding") ?? "")) return "chunked";
  const length = fields.get("content-length");
  if (length === undefined) return undefined;
  if (!/^\d{1,15}$/.test(length)) throw new Faulty();
  return Number(length);
}

export function join(pieces) {
  if (pieces.length === 1) return pieces[0];
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

// A head is bytes, each of which is a character (RFC 9110 §5.5 has no other reading for all of them).
function text(bytes) {
  return String.fromCharCode(...bytes);
}
