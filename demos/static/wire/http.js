// A parser for HTTP/1.1 (RFC 9112) that accepts bytes in pieces of any size.
// Pure: it reports to a listener which bytes are which part of a message.

// A longer line is not HTTP: servers refuse far shorter ones.
const MAX_LINE = 65_536;
const LF = 10;

const REQUEST_LINE = /^(\S+) (\S+) HTTP\/1\.[01]$/;
const STATUS_LINE = /^HTTP\/1\.[01] ([1-5]\d\d)(?: .*)?$/;
const CHUNK_SIZE = /^([0-9A-Fa-f]{1,12})[ \t]*(?:;.*)?$/;

class ParseError extends Error {}

/**
 * Parses the messages of one direction of one connection.  Calls
 *
 *   listener.onMessageBegin(parsed)            the start line is parsed
 *   listener.onPart(kind, bytes)               the next bytes, and which part they are
 *   listener.onHeadersComplete(fields)         returns the length of the body
 *   listener.onMessageComplete()
 *
 * where a length is a number, "chunked", "close" (until the connection ends) or "other" (what follows
 * is not HTTP; `feed` returns it).
 */
export class HTTPParser {
  #listener;
  #parseStartLine;
  #parse = this.#startLine;
  #held = []; // pieces of an incomplete line
  #heldBytes = 0;
  #remaining = 0; // bytes of the body or chunk
  #kind = "body";
  #fields;
  #done = false;

  /** `parseStartLine(line)` returns the values of a start line, or undefined if it is invalid. */
  constructor(parseStartLine, listener) {
    this.#parseStartLine = parseStartLine;
    this.#listener = listener;
  }

  /** Parse the next bytes; return those after a switch to another protocol. */
  feed(bytes) {
    let rest = bytes;
    try {
      while (rest.length && !this.#done) rest = this.#remaining ? this.#skip(rest) : this.#line(rest);
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      return this.#giveUp(rest);
    }
    return rest;
  }

  // The invalid line starts in `#held` and continues in `rest`; the last held piece is part of `rest`.
  #giveUp(rest) {
    this.#held.pop();
    if (this.#held.length) this.#listener.onPart("unknown", concat(this.#held));
    this.#remaining = Infinity;
    this.#kind = "unknown";
    return this.feed(rest);
  }

  #skip(bytes) {
    const count = Math.min(bytes.length, this.#remaining);
    this.#remaining -= count;
    this.#listener.onPart(this.#kind, bytes.subarray(0, count));
    if (!this.#remaining && this.#parse === this.#startLine) this.#listener.onMessageComplete();
    return bytes.subarray(count);
  }

  #line(bytes) {
    const end = bytes.indexOf(LF) + 1 || bytes.length;
    this.#held.push(bytes.subarray(0, end));
    this.#heldBytes += end;
    const rest = bytes.subarray(end);
    if (this.#heldBytes > MAX_LINE) throw new ParseError();
    if (bytes[end - 1] !== LF) return rest;
    const whole = concat(this.#held);
    this.#parse(whole, text(whole).replace(/\r?\n$/, ""));
    this.#held = [];
    this.#heldBytes = 0;
    return rest;
  }

  // --- the parts of a message in their order -----------------------------------------------------

  #startLine(bytes, line) {
    const parsed = this.#parseStartLine(line);
    if (!parsed) throw new ParseError();
    this.#fields = new Map();
    this.#listener.onMessageBegin(parsed);
    this.#listener.onPart("start-line", bytes);
    this.#parse = this.#field;
  }

  #field(bytes, line) {
    if (!line) return this.#body(bytes);
    const [, name, value] = /^([^\s:]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (!name) throw new ParseError();
    const known = this.#fields.get(name.toLowerCase());
    this.#fields.set(name.toLowerCase(), known === undefined ? value : `${known}, ${value}`);
    this.#listener.onPart("field", bytes);
  }

  #body(bytes) {
    const length = this.#listener.onHeadersComplete(this.#fields);
    this.#listener.onPart("head-end", bytes);
    this.#parse = length === "chunked" ? this.#chunkSize : this.#startLine;
    this.#kind = length === "chunked" ? "chunk-data" : "body";
    this.#done = length === "other";
    if (length === "close") this.#remaining = Infinity;
    else if (length > 0) this.#remaining = length;
    else if (length !== "chunked") this.#listener.onMessageComplete();
  }

  // RFC 9112 §7.1: chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
  #chunkSize(bytes, line) {
    const [, size] = CHUNK_SIZE.exec(line) ?? [];
    if (size === undefined) throw new ParseError();
    this.#remaining = parseInt(size, 16);
    this.#listener.onPart(this.#remaining ? "chunk-size" : "last-chunk", bytes);
    this.#parse = this.#remaining ? this.#chunkEnd : this.#trailer;
  }

  #chunkEnd(bytes, line) {
    if (line) throw new ParseError();
    this.#listener.onPart("chunk-end", bytes);
    this.#parse = this.#chunkSize;
  }

  #trailer(bytes, line) {
    this.#listener.onPart(line ? "trailer" : "chunk-end", bytes);
    if (line) return;
    this.#parse = this.#startLine;
    this.#listener.onMessageComplete();
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

/** The length of a request's body (RFC 9112 §6.3). */
export function requestLength(fields) {
  return declaredLength(fields) ?? 0;
}

/** The length of a response's body; `method` is that of its request. */
export function responseLength(fields, status, method) {
  if (status === 101) return "other";
  // §6.3, 1: these are "always terminated by the first empty line after the header fields".
  if (status < 200 || status === 204 || status === 304 || method === "HEAD") return 0;
  return declaredLength(fields) ?? "close";
}

function declaredLength(fields) {
  // §6.3, 3: "the Transfer-Encoding overrides the Content-Length."
  if (/(^|,)\s*chunked$/i.test(fields.get("transfer-encoding") ?? "")) return "chunked";
  const length = fields.get("content-length");
  if (length === undefined) return undefined;
  if (!/^\d{1,15}$/.test(length)) throw new ParseError();
  return Number(length);
}

export function concat(pieces) {
  if (pieces.length === 1) return pieces[0];
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

// Each byte of a head becomes one character: RFC 9110 §5.5 gives no encoding for bytes outside ASCII.
function text(bytes) {
  return String.fromCharCode(...bytes);
}
