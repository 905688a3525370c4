// The way up: one POST per message, for every transport that only leads down.
// A message carries an id of its own, so it may be sent again until it is acknowledged: said once.

import { address, askJSON } from "./ask.js";

const PATIENCE = 10_000;

/** Send one message; the result is `{id, cursor}`, its place in the log. */
export function post(room, message, { base, trace } = {}) {
  return askJSON(address(room, "messages", { trace }, base), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(message),
    signal: AbortSignal.timeout(PATIENCE),
  });
}

// A page opened over the LAN is no secure context and has no crypto.randomUUID.
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40; // RFC 9562 §5.4: version 4 …
  bytes[8] = (bytes[8] & 0x3f) | 0x80; // … and the variant of §4.1
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}
