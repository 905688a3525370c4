// Keeps the records of a tap, so that they can be saved.  Its size is bounded: above the limit the oldest
// records are left out, but never the headers of a response that is still open, without which nothing that
// follows can be parsed.

import { TrafficParser } from "./traffic_parser.js";

const MAX_BYTES = 4 * 2 ** 20;
const MAX_RECORDS = 20_000;
const HEAD_PARTS = new Set(["start-line", "field", "head-end"]);
const ASTERISK = 0x2a;

export class Recorder {
  #records = [];
  #bytes = 0;
  #left = 0; // bytes that were left out
  #heads = new Map(); // connection: the records with the headers of its current exchange
  #record;
  #secret;
  #parser = new TrafficParser({
    onPart: (part) => this.#part(part),
    onMessage: (message) => this.#message(message),
  });

  /** Each request contains the `secret` of the tap.  Anyone who knows it can read the traffic, so it is not saved. */
  constructor(secret) {
    this.#secret = new TextEncoder().encode(secret);
  }

  feed({ plain, ...record }) {
    if (record.open !== undefined) return;
    this.#record = record.bytes ? { ...record, bytes: hide(record.bytes, this.#secret) } : record;
    this.#parser.feed(record);
    if (record.closed) this.#heads.delete(record.connection);
    this.#records.push(this.#record);
    this.#bytes += sizeOf(record);
    while (this.#bytes > MAX_BYTES || this.#records.length > MAX_RECORDS) this.#leaveOut();
  }

  /** The records, from the oldest one that is kept. */
  get records() {
    const kept = new Set(this.#records);
    const heads = [...this.#heads.values()].flat().filter((record) => !kept.has(record));
    const missing = this.#left ? [{ dropped: this.#left }] : [];
    return [...heads.sort((a, b) => a.at - b.at), ...missing, ...this.#records];
  }

  /** Keep nothing but what later records need. */
  clear() {
    this.#records = [];
    this.#bytes = this.#left = 0;
  }

  #leaveOut() {
    const size = sizeOf(this.#records.shift());
    this.#bytes -= size;
    this.#left += size;
  }

  #part({ connection, direction, kind }) {
    if (!HEAD_PARTS.has(kind)) return;
    if (kind === "start-line" && direction === "up") this.#heads.set(connection, []);
    const heads = this.#heads.get(connection);
    if (heads && heads.at(-1) !== this.#record) heads.push(this.#record);
  }

  // After 101 Switching Protocols the exchange goes on as long as its connection.
  #message({ connection, kind, status, endedAt }) {
    if (kind === "response" && endedAt !== undefined && status >= 200) this.#heads.delete(connection);
  }
}

function sizeOf({ bytes }) {
  return bytes?.length ?? 0;
}

/** Bytes in which a secret is as many asterisks. */
export function hide(bytes, secret) {
  if (!secret.length) return bytes;
  let hidden = bytes;
  for (let at = find(bytes, secret, 0); at >= 0; at = find(bytes, secret, at + secret.length)) {
    if (hidden === bytes) hidden = bytes.slice();
    hidden.fill(ASTERISK, at, at + secret.length);
  }
  return hidden;
}

function find(bytes, some, from) {
  for (let at = bytes.indexOf(some[0], from); at >= 0; at = bytes.indexOf(some[0], at + 1)) {
    if (some.every((byte, n) => byte === bytes[at + n])) return at;
  }
  return -1;
}
