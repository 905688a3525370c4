// What is shown of the wire, cut as a reader would: a head with its fields, then each chunk and each
// frame for itself, as they crossed.  Counts all, keeps the latest.

import { Conversation } from "./conversation.js";
import { wordsIn } from "./payload.js";

const KEPT = 200; // blocks
const HELD = 65_536; // bytes of one block

/**
 * Feed it the pieces of a tap.  `take()` gives the blocks that are new since the last time:
 * `{number, at, direction, connection, message, parts: [{kind, bytes}], bytes}`; of one that is very
 * long `parts` hold the beginning, and `bytes` counts all.
 */
export class Blocks {
  #conversation = new Conversation({
    onPart: (part) => this.#add(part),
    onMessage: (message) => this.#finish(message),
  });
  #fresh = [];
  #open = new Map(); // the block that may go on: by connection and direction
  #numbers = 0;
  totals = { up: 0, down: 0, words: 0 };
  skipped = 0; // bytes that came too fast to be shown
  paused = false;

  feed(piece) {
    if (piece.dropped) this.skipped += piece.dropped;
    if (piece.bytes) this.totals[piece.direction] += piece.bytes.length;
    this.#conversation.feed(piece);
  }

  take() {
    if (this.paused) return [];
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }

  clear() {
    this.#fresh = [];
    this.totals = { up: 0, down: 0, words: 0 };
    this.skipped = 0;
  }

  #add(part) {
    const key = keyOf(part);
    let block = this.#open.get(key);
    if (!block || block.message !== part.message || ["chunk-size", "last-chunk"].includes(part.kind)) {
      if (block) this.#ended(block);
      block = this.#begin(part);
      this.#open.set(key, block);
    }
    block.bytes += part.bytes.length;
    const room = HELD - (block.bytes - part.bytes.length);
    if (room > 0) block.parts.push({ ...part, bytes: part.bytes.slice(0, room) });
    block.changed = true;
    if (part.kind === "chunk-end") this.#ended(block);
  }

  #finish(message) {
    const block = this.#open.get(keyOf(message));
    if (message.ended !== undefined && block?.message === message) this.#ended(block);
  }

  #begin({ at, direction, connection, message }) {
    const block = {
      number: ++this.#numbers, at, direction, connection, message, parts: [], bytes: 0,
    };
    this.#fresh.push(block);
    if (this.#fresh.length > KEPT) this.skipped += this.#fresh.shift().bytes;
    return block;
  }

  // Counted once, when all of it is here: a text may have come in two pieces.
  #ended(block) {
    if (!block.counted) this.totals.words += wordsIn(block);
    block.counted = true;
  }
}

function keyOf({ connection, direction }) {
  return `${connection} ${direction}`;
}
