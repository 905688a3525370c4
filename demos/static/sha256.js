// SHA-256 as FIPS 180-4 describes it.  `crypto.subtle` is asynchronous, and missing on a page over the LAN.

// §5.3.3 and §4.2.2: 32 bits after the point of the square and cube roots of the first primes.
const PRIMES = [];
for (let n = 2; PRIMES.length < 64; n++) if (PRIMES.every((prime) => n % prime)) PRIMES.push(n);
const fraction = (root) => (root % 1) * 2 ** 32 | 0;
const INITIAL_STATE = PRIMES.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
const ROUND_CONSTANTS = PRIMES.map((prime) => fraction(Math.cbrt(prime)));

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
