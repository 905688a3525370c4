// SHA-1 (RFC 3174), as it is described there.  A browser has it in `crypto.subtle`, but not on a page
// that was opened over the LAN; and here it can be read.  For a handshake it is good enough: nothing is
// kept secret by it, it only shows that the server has understood the question.

const BEGINNING = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];

/** The 20 bytes that SHA-1 makes of any bytes. */
export function sha1(bytes) {
  const padded = pad(bytes);
  let state = BEGINNING;
  for (let at = 0; at < padded.byteLength; at += 64) {
    state = digest(state, new DataView(padded.buffer, at, 64));
  }
  const result = new DataView(new ArrayBuffer(20));
  state.forEach((word, i) => result.setUint32(4 * i, word));
  return new Uint8Array(result.buffer);
}

// §4: a one bit, zeros, and the length in bits, so that whole blocks of 64 bytes come out.
function pad(bytes) {
  const padded = new Uint8Array(Math.ceil((bytes.length + 9) / 64) * 64);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  new DataView(padded.buffer).setBigUint64(padded.length - 8, BigInt(8 * bytes.length));
  return padded;
}

// §6.1: one block is stirred into the five words in eighty rounds.
function digest(before, block) {
  const words = stretch(block);
  let [a, b, c, d, e] = before;
  for (let round = 0; round < 80; round++) {
    const [mixed, constant] = mix(round, b, c, d);
    const next = (turn(a, 5) + mixed + e + words[round] + constant) | 0;
    [a, b, c, d, e] = [next, a, turn(b, 30), c, d];
  }
  return [a, b, c, d, e].map((word, i) => (word + before[i]) | 0);
}

// Sixteen words of the block become eighty.
function stretch(block) {
  const words = Array.from({ length: 16 }, (_, i) => block.getInt32(4 * i));
  for (let i = 16; i < 80; i++) {
    words.push(turn(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1));
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

function turn(word, by) {
  return (word << by) | (word >>> (32 - by));
}
