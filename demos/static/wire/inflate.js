// Compressed traffic, inflated: in the records of a tap, each compressed piece gets its plain bytes.
//
//   gzip     a body with a length is one file of gzip; in a stream, the first chunk starts with its head, and
//            each chunk is compressed alone
//   deflate  a WebSocket message, without the end that RFC 7692 §7.2.1 leaves out
//   zstd     each chunk or body is a frame; not every browser lets a page inflate it

import { unmask } from "./frames.js";
import { concat } from "./http.js";
import { codingOf, isPayload } from "./payload.js";
import { TrafficParser, unitOf } from "./traffic_parser.js";

const GZIP_HEAD = 10; // bytes (RFC 1952 §2.3)
const FLUSH_END = Uint8Array.of(0, 0, 0xff, 0xff);
// An empty block that says that it is the last one (RFC 1951 §3.2.3): without it a stream is incomplete.
const LAST_BLOCK = Uint8Array.of(3, 0);
// More than any response of ours; a file that somebody made can inflate to a thousand times its size.
const MAX_PLAIN_BYTES = 4 * 2 ** 20;

/**
 * Calls `onRecord` with each record that it is fed, in their order.  A record that completes a compressed
 * piece has `plain`, a Map from the unit of the piece to its plain bytes; what cannot be inflated is missing.
 */
export class Inflater {
  #onRecord;
  #parser = new TrafficParser({
    onPart: (part) => this.#part(part),
    onMessage: (message) => this.#message(message),
  });
  #pieces = new Map(); // unit: its compressed bytes up to now
  #inflating = []; // the pieces that the current record completes
  #last; // the promise of the last record that waits

  constructor(onRecord) {
    this.#onRecord = onRecord;
  }

  feed(record) {
    this.#inflating = [];
    this.#parser.feed(record);
    if (this.#inflating.length || this.#last) this.#wait(record, Promise.all(this.#inflating));
    else this.#onRecord(record);
  }

  /** Resolve when all records have been passed on. */
  async flush() {
    while (this.#last) await this.#last;
  }

  #wait(record, inflating) {
    const waiting = Promise.all([inflating, this.#last]).then(([pieces]) => {
      if (this.#last === waiting) this.#last = undefined;
      this.#onRecord({ ...record, plain: new Map(pieces.filter(([, plain]) => plain)) });
    });
    this.#last = waiting;
  }

  #part({ kind, message, unit, bytes }) {
    if (!codingOf(message)) return;
    if (isPayload({ kind })) this.#pieces.set(unit, [...(this.#pieces.get(unit) ?? []), bytes.slice()]);
    else if (kind === "chunk-end") this.#complete(message, unit);
  }

  #message(message) {
    if (message.endedAt !== undefined) this.#complete(message, unitOf(message));
  }

  #complete(message, unit) {
    const pieces = this.#pieces.get(unit);
    if (!pieces) return;
    this.#pieces.delete(unit);
    this.#inflating.push(inflate(message, concat(pieces)).then((plain) => [unit, plain]));
  }
}

/** The plain bytes of one piece of a message; undefined if the browser cannot inflate it, or it is too large. */
async function inflate(message, bytes) {
  try {
    const [format, pieces] = compressedForm(message, bytes);
    const stream = new Blob(pieces).stream().pipeThrough(new DecompressionStream(format));
    return await readAll(stream);
  } catch {
    return undefined;
  }
}

async function readAll(stream) {
  const plain = [];
  let size = 0;
  for (const reader = stream.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return concat(plain);
    plain.push(value);
    size += value.length;
    if (size > MAX_PLAIN_BYTES) return void await reader.cancel();
  }
}

function compressedForm(message, bytes) {
  const coding = codingOf(message);
  if (coding === "deflate") {
    const { mask } = message;
    return ["deflate-raw", [mask ? unmask(bytes, mask) : bytes, FLUSH_END, LAST_BLOCK]];
  }
  if (coding !== "gzip" || !message.chunks) return [coding, [bytes]];
  return ["deflate-raw", [message.chunks === 1 ? bytes.subarray(GZIP_HEAD) : bytes, LAST_BLOCK]];
}
