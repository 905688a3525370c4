// Publishing: one POST per message, for every transport that only delivers.
// The sender chooses the id of a message, so a retry is safe: the server keeps each id once.

import { requestJSON, roomUrl } from "./api.js";
import { secretOf } from "./identity.js";

const TIMEOUT = 10_000;

/** Publish one message; resolves with `{id, cursor}`, its position in the log. */
export function publish(room, message, { base, trace } = {}) {
  const query = { trace, secret: secretOf(message.client) };
  return requestJSON(roomUrl(room, "messages", query, base), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(message),
    signal: AbortSignal.timeout(TIMEOUT),
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
