// The client ids of this page prove themselves: each is the hash of a secret that only this page has.  The
// server checks the hash, and nobody else can speak, leave or read byte counts as this client.

import { sha256 } from "./sha256.js";

// The server expects this start, and the first 128 bits in hexadecimal digits.
const PREFIX = "key-";
const ID_BYTES = 16;

const secrets = new Map(); // client: secret

/** The id of a new client of this page, or of the one that had `secret` before a reload. */
export function newClient(secret = hex(crypto.getRandomValues(new Uint8Array(16)))) {
  const client = PREFIX + hex(sha256(new TextEncoder().encode(secret)).slice(0, ID_BYTES));
  secrets.set(client, secret);
  return client;
}

let page;

/**
 * The client of this page for what belongs to no room: captures and networks.  The server counts them for it, so
 * that one page of a class cannot use up what all share.
 */
export function pageClient() {
  page ??= newClient();
  return page;
}

/** The secret of a client of this page; undefined for all others. */
export function secretOf(client) {
  return secrets.get(client);
}

function hex(bytes) {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
