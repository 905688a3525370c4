// SHA-256 as FIPS 180-4 describes it.  `crypto.subtle` has it too, but not on a page that was opened over the
// LAN, and there it is asynchronous: a page needs its client id at once.

// §5.3.3 and §4.2.2: the fractional parts of the square and cube roots of the first primes.
const INITIAL_STATE = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];
const ROUND_CONSTANTS = [
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/** The SHA-256 digest of `bytes`: 32 bytes. */
export function sha256(bytes) {
  return digest(bytes, INITIAL_STATE, processBlock);
}

/** What all hashes of this family do: each block of 64 bytes changes a state of 32-bit words. */
export function digest(bytes, initialState, processBlock) {
  const padded = pad(bytes);
  let state = initialState;
  for (let at = 0; at < padded.byteLength; at += 64) {
    state = processBlock(state, new DataView(padded.buffer, at, 64));
  }
  const result = new DataView(new ArrayBuffer(4 * state.length));
  state.forEach((word, i) => result.setUint32(4 * i, word));
  return new Uint8Array(result.buffer);
}

// §5.1.1: append a one bit, zeros, and the length in bits, up to whole blocks of 64 bytes.
function pad(bytes) {
  const padded = new Uint8Array(Math.ceil((bytes.length + 9) / 64) * 64);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  new DataView(padded.buffer).setBigUint64(padded.length - 8, BigInt(8 * bytes.length));
  return padded;
}

// §6.2.2: 64 rounds mix one block into the eight words of the state.
function processBlock(before, block) {
  const words = schedule(block);
  let [a, b, c, d, e, f, g, h] = before;
  for (let round = 0; round < 64; round++) {
    const sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const chosen = (e & f) ^ (~e & g);
    const first = (h + sum1 + chosen + ROUND_CONSTANTS[round] + words[round]) | 0;
    const sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    [a, b, c, d, e, f, g, h] = [(first + sum0 + majority) | 0, a, b, c, (d + first) | 0, e, f, g];
  }
  return [a, b, c, d, e, f, g, h].map((word, i) => (word + before[i]) | 0);
}

// The sixteen words of the block become 64.
function schedule(block) {
  const words = Array.from({ length: 16 }, (_, i) => block.getInt32(4 * i));
  for (let i = 16; i < 64; i++) {
    const [early, late] = [words[i - 15], words[i - 2]];
    const sum0 = rotate(early, 7) ^ rotate(early, 18) ^ (early >>> 3);
    const sum1 = rotate(late, 17) ^ rotate(late, 19) ^ (late >>> 10);
    words.push((words[i - 16] + sum0 + words[i - 7] + sum1) | 0);
  }
  return words;
}

function rotate(word, by) {
  return (word >>> by) | (word << (32 - by));
}
