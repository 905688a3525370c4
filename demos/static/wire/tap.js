// The tap: a copy of the bytes that crossed the server's socket, for every request that carries our secret.
// It has its own connection, directly to the server, whatever network conditions the others have.

import { ROOT, withSecret } from "../api.js";
import { pageClient } from "../identity.js";

const OPEN_TIMEOUT = 2_000;
// The wait before a reconnect, at first and at most.
const MIN_CEILING = 1_000;
const MAX_CEILING = 10_000;

/**
 * Open a tap.  Resolves, when the server is ready, with `{secret, root, on, close}`, where `root` is the path of
 * the server; a listener of `on(listener)` receives each record, in order:
 *
 *   { connection, transport, direction: "up" | "down", at, bytes }   a Uint8Array
 *   { connection, at, closed: true }                                 the connection has ended
 *   { dropped }                                                      a number of bytes, too many to copy
 *   { open }                                                         whether the tap is open, at each change
 *
 * `connection` is a number, `at` the server's clock in ms since 1970, with fractions.  The secret stays
 * the same after a reconnect.
 */
export async function openTap() {
  const tap = new Tap();
  await Promise.race([tap.opened, new Promise((resolve) => { setTimeout(resolve, OPEN_TIMEOUT); })]);
  return tap;
}

class Tap {
  secret = newSecret();
  root = ROOT.pathname;
  #listeners = new Set();
  #socket;
  #open;
  #failures = 0;
  #timer;

  constructor() {
    this.opened = new Promise((resolve) => { this.#listeners.add(({ open }) => open && resolve()); });
    this.#connect();
  }

  /** Call `listener` for each record from now on, and at once with whether the tap is open. */
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
    const url = new URL(`wire/${this.secret}`, ROOT);
    url.search = new URLSearchParams(withSecret({ client: pageClient() }));
    url.protocol = url.protocol.replace("http", "ws");
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => this.#setOpen(true);
    this.#socket.onmessage = ({ data }) => this.#emit(decoded(JSON.parse(data)));
    this.#socket.onclose = () => this.#reconnect();
  }

  #setOpen(open) {
    if (open) this.#failures = 0;
    if (open !== this.#open) this.#emit({ open });
    this.#open = open;
  }

  #reconnect() {
    this.#setOpen(false);
    const ceiling = Math.min(MAX_CEILING, MIN_CEILING * 2 ** this.#failures++);
    this.#timer = setTimeout(() => this.#connect(), Math.random() * ceiling);
  }

  #emit(record) {
    this.#listeners.forEach((listener) => listener(record));
  }
}

function decoded(record) {
  if (record.data !== undefined) {
    record.bytes = Uint8Array.from(atob(record.data), (character) => character.charCodeAt());
  }
  return record;
}

// Anyone with the secret can read our traffic: 128 bits cannot be guessed.
function newSecret() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
