// Long polling: the server holds each request until it has something to respond (RFC 6202 §2).
// The next request follows at once, so one is always waiting, except for the blind time in between.

import { requestJSON, roomUrl } from "../api.js";
import { emitPoll } from "../poll_events.js";
import { publish } from "../publish.js";
import { keepConnected } from "../reconnect.js";

const WAIT = 25; // seconds the server may hold a request: below the 30 of impatient proxies
const TIMEOUT = 10_000; // for the response, after that wait

export function connect(room, { client, name, base, trace, encoding, ...options }) {
  function connectOnce(attempt) {
    const stopped = new AbortController();

    async function poll(wait) {
      const query = { after: attempt.cursor, client, name, wait, trace, encoding };
      const timeout = AbortSignal.timeout(wait * 1000 + TIMEOUT);
      const signal = AbortSignal.any([stopped.signal, timeout]);
      const sentAt = performance.now();
      emitPoll({ sentAt, base });
      try {
        const { events, cursor } = await requestJSON(roomUrl(room, "long_polling", query, base), { signal });
        emitPoll({ sentAt, receivedAt: performance.now(), events, base });
        attempt.opened();
        events.forEach(attempt.receive);
        attempt.at(cursor);
        if (!stopped.signal.aborted) poll(WAIT);
      } catch (error) {
        attempt.ended(error);
      }
    }

    // The first request does not wait: its response shows that we are connected.
    poll(0);
    return () => stopped.abort();
  }

  const reader = keepConnected(connectOnce, options);
  return { send: (message) => publish(room, message, { base, trace }), close: reader.close };
}
