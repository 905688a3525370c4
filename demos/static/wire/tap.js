// The tap: what the server saw cross the socket, for every request that carries our secret.
// It comes over a connection of its own, which leads straight to the server, whatever bad network
// the others go through.

const PATIENCE = 2_000;

/**
 * Open a tap.  The result, once the server listens, is `{secret, on, close}`; `on(listener)` is told
 * each piece, in order:
 *
 *   { connection, transport, direction: "up" | "down", at, bytes }   a Uint8Array that crossed
 *   { connection, at, closed: true }                                 the connection has ended
 *   { dropped }                                                      so many bytes came too fast to show
 *
 * `connection` is a number, `at` the server's clock in ms since 1970, with fractions.  Without a server
 * that listens there are no pieces, and the secret is undefined.
 */
export async function openTap() {
  const listeners = new Set();
  const tap = {
    secret: newSecret(),
    on: (listener) => listeners.add(listener),
    close: () => socket.close(),
  };
  const url = new URL(`/wire/${tap.secret}`, location);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  socket.onmessage = ({ data }) => {
    const piece = JSON.parse(data);
    if (piece.data !== undefined) piece.bytes = Uint8Array.from(atob(piece.data), (c) => c.charCodeAt());
    listeners.forEach((listener) => listener(piece));
  };
  const open = await new Promise((resolve) => {
    socket.onopen = () => resolve(true);
    socket.onerror = () => resolve(false);
    setTimeout(resolve, PATIENCE, false);
  });
  if (!open) tap.secret = undefined;
  return tap;
}

// Whoever knows it sees our bytes: 128 bits that nobody guesses.
function newSecret() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
