// A parser for WebSocket frames (RFC 6455 §5.2) that accepts bytes in pieces of any size.
//
//   head        2 bytes: FIN, RSV, OPCODE; MASK and a length of 7 bits
//   length      2 or 8 more bytes, when the 7 bits are 126 or 127
//   mask        4 bytes, when a browser sends
//   payload

import { concat } from "./http.js";

/**
 * Parses the frames of one direction.  Calls `listener.onMessageBegin(frame)`, `onPart(kind, bytes)` and
 * `onMessageComplete()`.
 */
export class FrameParser {
  #listener;
  #held = [];
  #heldBytes = 0;
  #wanted = 2;
  #parse = this.#head;
  #remaining = 0; // bytes of payload
  #frame;

  constructor(listener) {
    this.#listener = listener;
  }

  feed(bytes) {
    let rest = bytes;
    while (rest.length) rest = this.#remaining ? this.#payload(rest) : this.#fixed(rest);
  }

  #payload(bytes) {
    const count = Math.min(bytes.length, this.#remaining);
    this.#remaining -= count;
    this.#listener.onPart("frame-payload", bytes.subarray(0, count));
    if (!this.#remaining) this.#complete();
    return bytes.subarray(count);
  }

  #fixed(bytes) {
    const count = Math.min(bytes.length, this.#wanted - this.#heldBytes);
    this.#held.push(bytes.subarray(0, count));
    this.#heldBytes += count;
    if (this.#heldBytes === this.#wanted) {
      const whole = concat(this.#held);
      this.#held = [];
      this.#heldBytes = 0;
      this.#parse(whole);
    }
    return bytes.subarray(count);
  }

  #head(bytes) {
    const [first, second] = bytes;
    this.#frame = {
      fin: Boolean(first & 0x80),
      rsv: (first >> 4) & 7,
      opcode: first & 0x0f,
      masked: Boolean(second & 0x80),
      length: second & 0x7f,
    };
    this.#listener.onMessageBegin(this.#frame);
    this.#listener.onPart("frame-head", bytes);
    const extended = { 126: 2, 127: 8 }[this.#frame.length];
    if (extended) this.#expect(extended, this.#length);
    else this.#expectMask();
  }

  #length(bytes) {
    this.#frame.length = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
    this.#listener.onPart("frame-length", bytes);
    this.#expectMask();
  }

  #expectMask() {
    if (this.#frame.masked) this.#expect(4, this.#mask);
    else this.#expectPayload();
  }

  #mask(bytes) {
    this.#frame.mask = bytes.slice();
    this.#listener.onPart("frame-mask", bytes);
    this.#expectPayload();
  }

  #expectPayload() {
    this.#remaining = this.#frame.length;
    if (!this.#remaining) this.#complete();
  }

  #complete() {
    this.#listener.onMessageComplete();
    this.#expect(2, this.#head);
  }

  #expect(count, parse) {
    this.#wanted = count;
    this.#parse = parse;
  }
}

/** Mask or unmask bytes.  Both are the XOR with the four bytes of the mask, repeated (§5.3). */
export function unmask(bytes, mask, offset = 0) {
  return bytes.map((byte, n) => byte ^ mask[(n + offset) % 4]);
}
