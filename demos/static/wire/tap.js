// The tap: what the server saw cross the socket, for every request that carries our secret.
// It comes over a connection of its own, which leads straight to the server, whatever bad network
// the others go through.

const PATIENCE = 2_000;
// Between two attempts to come back, when the server was away.
const PAUSE = 1_000;
const LONGEST = 10_000;

/**
 * Open a tap.  The result, once the server listens, is `{secret, on, close}`; `on(listener)` is told
 * each piece, in order:
 *
 *   { connection, transport, direction: "up" | "down", at, bytes }   a Uint8Array that crossed
 *   { connection, at, closed: true }                                 the connection has ended
 *   { dropped }                                                      so many bytes came too fast to show
 *   { open }                                                         whether the server listens, when
 *                                                                    that has changed
 *
 * `connection` is a number, `at` the server's clock in ms since 1970, with fractions.  The secret stays
 * the same when the server was away and came back.
 */
export async function openTap() {
  const tap = new Tap();
  await Promise.race([tap.opened, new Promise((resolve) => { setTimeout(resolve, PATIENCE); })]);
  return tap;
}

class Tap {
  secret = newSecret();
  #listeners = new Set();
  #socket;
  #open;
  #failures = 0;
  #timer;

  constructor() {
    this.opened = new Promise((resolve) => { this.#listeners.add(({ open }) => open && resolve()); });
    this.#connect();
  }

  /** Tell `listener` from now on, and at once whether the server listens. */
  on(listener) {
    this.#listeners.add(listener);
    listener({ open: Boolean(this.#open) });
  }

  close() {
    clearTimeout(this.#timer);
    this.#socket.onclose = null;
    this.#socket.close();
  }

  #connect() {
    const url = new URL(`/wire/${this.secret}`, location);
    url.protocol = url.protocol.replace("http", "ws");
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => this.#changed(true);
    this.#socket.onmessage = ({ data }) => this.#tell(decoded(JSON.parse(data)));
    this.#socket.onclose = () => this.#comeBack();
  }

  #changed(open) {
    if (open) this.#failures = 0;
    if (open !== this.#open) this.#tell({ open });
    this.#open = open;
  }

  #comeBack() {
    this.#changed(false);
    const ceiling = Math.min(LONGEST, PAUSE * 2 ** this.#failures++);
    this.#timer = setTimeout(() => this.#connect(), Math.random() * ceiling);
  }

  #tell(piece) {
    this.#listeners.forEach((listener) => listener(piece));
  }
}

function decoded(piece) {
  if (piece.data !== undefined) {
    piece.bytes = Uint8Array.from(atob(piece.data), (character) => character.charCodeAt());
  }
  return piece;
}

// Whoever knows it sees our bytes: 128 bits that nobody guesses.
function newSecret() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
