// Publishing: one POST per message, for every transport that only delivers.  The sender chooses the id, so a retry
// is safe.

import { requestJSON, roomUrl } from "./api.js";
import { secretOf } from "./identity.js";

export { uuid } from "./identity.js";

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
