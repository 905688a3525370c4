// SHA-1 as RFC 3174 describes it.  `crypto.subtle` has it too, but not on a page that was opened over the
// LAN, and here students can read it.  SHA-1 is good enough for a handshake: it protects no secret, it
// only proves that the server speaks WebSocket.

import { digest } from "../sha256.js";

const INITIAL_STATE = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];

/** The SHA-1 digest of `bytes`: 20 bytes. */
export function sha1(bytes) {
  return digest(bytes, INITIAL_STATE, processBlock);
}

// §6.1: eighty rounds mix one block into the five words of the state.
function processBlock(before, block) {
  const words = schedule(block);
  let [a, b, c, d, e] = before;
  for (let round = 0; round < 80; round++) {
    const [mixed, constant] = mix(round, b, c, d);
    const next = (rotate(a, 5) + mixed + e + words[round] + constant) | 0;
    [a, b, c, d, e] = [next, a, rotate(b, 30), c, d];
  }
  return [a, b, c, d, e].map((word, i) => (word + before[i]) | 0);
}

// The sixteen words of the block become eighty.
function schedule(block) {
  const words = Array.from({ length: 16 }, (_, i) => block.getInt32(4 * i));
  for (let i = 16; i < 80; i++) {
    words.push(rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1));
  }
  return words;
}

// §5: a function and a constant for each twenty rounds.
function mix(round, b, c, d) {
  if (round < 20) return [(b & c) | (~b & d), 0x5a827999];
  if (round < 40) return [b ^ c ^ d, 0x6ed9eba1];
  if (round < 60) return [(b & c) | (b & d) | (c & d), 0x8f1bbcdc];
  return [b ^ c ^ d, 0xca62c1d6];
}

function rotate(word, by) {
  return (word << by) | (word >>> (32 - by));
}
