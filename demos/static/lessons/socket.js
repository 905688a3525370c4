// A WebSocket as the tap saw it: its handshake, and then frames, each whole.  A piece of the tap ends
// anywhere, so what is not complete yet is kept, for each direction of each connection.

const HEAD_ENDS = "\r\n\r\n";

/** `onHandshake({key, accept})`, then `onFrame(direction, bytes)` for each frame, either way. */
export function watchSocket(tap, { onHandshake, onFrame }) {
  const connections = new Map();
  tap.on(({ connection, transport, direction, bytes, closed, dropped }) => {
    if (closed) connections.delete(connection);
    // After a hole nobody knows where a frame begins: wait for the next connection.
    if (dropped) connections.clear();
    if (transport !== "websocket" || closed) return;
    if (direction === "up" && begins(bytes)) connections.set(connection, { up: side(), down: side() });
    if (!connections.has(connection)) return;
    const both = connections.get(connection);
    const told = both[direction];
    told.rest = join(told.rest, bytes);
    if (!told.head && !readHead(told)) return;
    if (both.up.head && both.down.head && !both.shaken) onHandshake(shake(both));
    for (let size = frameSize(told.rest); size <= told.rest.length; size = frameSize(told.rest)) {
      onFrame(direction, told.rest.slice(0, size));
      told.rest = told.rest.slice(size);
    }
  });
}

// A request begins so, and no piece of a frame would be taken for it but by a bad accident.
function begins(bytes) {
  return String.fromCharCode(...bytes.slice(0, 4)) === "GET ";
}

function side() {
  return { rest: new Uint8Array(), head: undefined };
}

function readHead(told) {
  const text = String.fromCharCode(...told.rest);
  const end = text.indexOf(HEAD_ENDS);
  if (end < 0) return false;
  told.head = text.slice(0, end);
  told.rest = told.rest.slice(end + HEAD_ENDS.length);
  return true;
}

function shake(both) {
  both.shaken = true;
  const field = (head, name) => new RegExp(`^${name}: *(.*)$`, "im").exec(head)?.[1].trim();
  return {
    key: field(both.up.head, "Sec-WebSocket-Key"),
    accept: field(both.down.head, "Sec-WebSocket-Accept"),
  };
}

// RFC 6455 §5.2; infinite while the head is not all there.
function frameSize(bytes) {
  if (bytes.length < 2) return Infinity;
  const seven = bytes[1] & 0x7f;
  const extended = { 126: 2, 127: 8 }[seven] ?? 0;
  const head = 2 + extended + (bytes[1] >> 7 ? 4 : 0);
  if (bytes.length < head) return Infinity;
  const length = extended ? bytes.slice(2, 2 + extended).reduce((sum, byte) => sum * 256 + byte, 0) : seven;
  return head + length;
}

function join(a, b) {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
