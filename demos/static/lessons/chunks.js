// The chunks of an endless answer, from the bytes that the tap saw go down: what Transfer-Encoding put
// between the head and the body (RFC 9112 §7.1).  A piece of the tap ends anywhere, so what is not
// complete yet is kept.

const HEAD_ENDS = [13, 10, 13, 10];
const LINE_ENDS = [13, 10];

/** `feed(bytes)` each piece that comes down one connection; `onChunk(data)` is told each whole chunk. */
export function chunkReader(onChunk) {
  let rest = new Uint8Array();
  let body = false;

  // The length of what could be read from the start of `rest`, or nothing while it is not all there.
  function step() {
    const ends = body ? LINE_ENDS : HEAD_ENDS;
    const end = find(rest, ends);
    if (end < 0) return undefined;
    const begin = end + ends.length;
    if (!body) return (body = true) && begin;
    const size = parseInt(String.fromCharCode(...rest.subarray(0, end)), 16);
    if (rest.length < begin + size + LINE_ENDS.length) return undefined;
    onChunk(rest.slice(begin, begin + size));
    // The last chunk is empty, and what follows is another answer.
    if (!size) body = false;
    return begin + size + LINE_ENDS.length;
  }

  return (bytes) => {
    rest = join(rest, bytes);
    for (let read = step(); read; read = step()) rest = rest.slice(read);
  };
}

function find(bytes, wanted) {
  return bytes.findIndex((_, at) => wanted.every((byte, i) => bytes[at + i] === byte));
}

function join(a, b) {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
