// The captured traffic in blocks, as the wire view shows it: one for each head with its fields, each chunk,
// each frame and each line: one for each unit.  Counts all bytes, keeps the latest blocks.

import { keysIn } from "./links.js";
import { payloadText, sizeOf, textBytes } from "./payload.js";
import { networkBytes } from "./quic.js";
import { TrafficParser } from "./traffic_parser.js";

const MAX_BLOCKS = 200; // of live traffic
const MAX_BYTES = 65_536; // kept of one block

/**
 * Feed it the records of a tap.  `take()` returns the blocks that are new since the last call:
 * `{unit, at, direction, connection, message, parts: [{kind, bytes}], bytes, plain}`.  `parts` holds only the
 * start of a very long block; `bytes` counts all of it.  `plain` is a compressed payload, inflated; it is also
 * the last part, which never crossed the network.  `onComplete(unit, keys)` is called with the keys in
 * the payload of each complete block.
 */
export class Blocks {
  #parser = new TrafficParser({
    onPart: (part) => this.#add(part),
    onMessage: (message) => this.#messageChanged(message),
  });
  #fresh = [];
  #open = new Map(); // what keyOf returns: the block that may still grow
  #onComplete;
  #maxBlocks;
  #plain; // what inflate.js has found in the current record
  totals = { up: 0, down: 0, text: 0 };
  skipped = 0; // bytes that arrived too fast to be shown

  constructor(onComplete = () => {}, maxBlocks = MAX_BLOCKS) {
    this.#onComplete = onComplete;
    this.#maxBlocks = maxBlocks;
  }

  feed(record) {
    if (record.dropped) this.skipped += record.dropped;
    if (record.direction) this.totals[record.direction] += networkBytes(record);
    this.#plain = record.plain;
    this.#parser.feed(record);
  }

  take() {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }

  clear() {
    this.#fresh = [];
    this.totals = { up: 0, down: 0, text: 0 };
    this.skipped = 0;
  }

  #add(part) {
    const key = keyOf(part.message);
    let block = this.#open.get(key);
    if (block?.unit !== part.unit) {
      if (block) this.#complete(block);
      block = this.#begin(part);
      this.#open.set(key, block);
    }
    const free = MAX_BYTES - block.bytes;
    block.bytes += sizeOf(part);
    if (free > 0) block.parts.push({ ...part, bytes: part.bytes.slice(0, free) });
    block.changed = true;
    if (part.kind === "chunk-end") this.#complete(block);
  }

  #messageChanged(message) {
    const block = this.#open.get(keyOf(message));
    if (message.endedAt !== undefined && block?.message === message) this.#complete(block);
  }

  #begin({ at, direction, connection, message, unit }) {
    const block = {
      unit, at, direction, connection, message, parts: [], bytes: 0,
    };
    this.#fresh.push(block);
    if (this.#fresh.length > this.#maxBlocks) this.skipped += this.#fresh.shift().bytes;
    return block;
  }

  // Count texts once per complete block: a text may have arrived in two pieces.
  #complete(block) {
    if (block.complete) return;
    block.complete = true;
    block.plain = this.#plain?.get(block.unit);
    if (block.plain) {
      block.parts.push({ kind: "inflated", bytes: block.plain.subarray(0, MAX_BYTES) });
      block.changed = true;
    }
    const text = payloadText(block);
    this.totals.text += textBytes(text);
    this.#onComplete(block.unit, keysIn(text));
  }
}

// A packet or datagram may come within a line.
function keyOf({ connection, direction, kind }) {
  const between = kind === "packet" || kind === "datagram" ? kind : "";
  return `${connection} ${direction} ${between}`;
}
