// WebSocket frames, cut into their parts (RFC 6455 §5.2), for bytes that come in pieces of any size.
//
//   head        2 bytes: FIN, RSV, OPCODE; MASK and a length of 7 bits
//   length      2 or 8 more bytes, when the 7 bits say 126 or 127
//   mask        4 bytes, when a browser sends
//   payload

import { join } from "./http.js";

/** Reads the frames of one direction; `listener` is told begin(frame), part(kind, bytes) and end(). */
export class FrameReader {
  #listener;
  #held = [];
  #heldBytes = 0;
  #wanted = 2;
  #read = this.#head;
  #left = 0;
  #frame;

  constructor(listener) {
    this.#listener = listener;
  }

  feed(bytes) {
    let rest = bytes;
    while (rest.length) rest = this.#left ? this.#payload(rest) : this.#fixed(rest);
  }

  #payload(bytes) {
    const count = Math.min(bytes.length, this.#left);
    this.#left -= count;
    this.#listener.part("frame-payload", bytes.subarray(0, count));
    if (!this.#left) this.#end();
    return bytes.subarray(count);
  }

  #fixed(bytes) {
    const count = Math.min(bytes.length, this.#wanted - this.#heldBytes);
    this.#held.push(bytes.subarray(0, count));
    this.#heldBytes += count;
    if (this.#heldBytes === this.#wanted) {
      const whole = join(this.#held);
      this.#held = [];
      this.#heldBytes = 0;
      this.#read(whole);
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
    this.#listener.begin(this.#frame);
    this.#listener.part("frame-head", bytes);
    const longer = { 126: 2, 127: 8 }[this.#frame.length];
    if (longer) this.#want(longer, this.#length);
    else this.#wantMask();
  }

  #length(bytes) {
    this.#frame.length = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
    this.#listener.part("frame-length", bytes);
    this.#wantMask();
  }

  #wantMask() {
    if (this.#frame.masked) this.#want(4, this.#mask);
    else this.#wantPayload();
  }

  #mask(bytes) {
    this.#frame.mask = bytes.slice();
    this.#listener.part("frame-mask", bytes);
    this.#wantPayload();
  }

  #wantPayload() {
    this.#left = this.#frame.length;
    if (!this.#left) this.#end();
  }

  #end() {
    this.#listener.end();
    this.#want(2, this.#head);
  }

  #want(count, read) {
    this.#wanted = count;
    this.#read = read;
  }
}

/** What a mask hides, or hides what it shows: both are XOR with its four bytes in turn (§5.3). */
export function unmask(bytes, mask, offset = 0) {
  return bytes.map((byte, n) => byte ^ mask[(n + offset) % 4]);
}
