// Ids of clients and messages.  A client id of this page is the hash of a secret that only this page has.  The server
// checks the hash, so nobody else can speak, leave or read byte counts as this client.

import { sha256 } from "./sha256.js";

// What the server expects: this start, and 128 bits in hexadecimal digits.
const PREFIX = "key-";
const ID_BYTES = 16;

const secrets = new Map(); // client: secret

/** The id of a new client, or of the one that had `secret` before a reload. */
export function newClient(secret = hex(crypto.getRandomValues(new Uint8Array(16)))) {
  const client = PREFIX + hex(sha256(new TextEncoder().encode(secret)).slice(0, ID_BYTES));
  secrets.set(client, secret);
  return client;
}

let page;

/** The client of this page for what belongs to no room, captures and networks: the server counts them for it. */
export function pageClient() {
  page ??= newClient();
  return page;
}

/** The secret of a client of this page; undefined for all others. */
export function secretOf(client) {
  return secrets.get(client);
}

// A page opened over the LAN is no secure context, and has no crypto.randomUUID.
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40; // RFC 9562 §5.4: version 4 …
  bytes[8] = (bytes[8] & 0x3f) | 0x80; // … and the variant of §4.1
  return hex(bytes).replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

function hex(bytes) {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
