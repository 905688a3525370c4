// Short polling: request, and request again after an interval, whether or not there was anything new.
// Every response is complete, so there is no stream to watch, and a failed request is repeated.

import { requestJSON, roomUrl } from "../api.js";
import { emitPoll } from "../poll_events.js";
import { publish } from "../publish.js";
import { keepConnected } from "../reconnect.js";

const TIMEOUT = 10_000;

export function connect(room, { client, name, base, trace, encoding, setting, ...options }) {
  function connectOnce(attempt) {
    const stopped = new AbortController();
    let timer;

    async function poll() {
      const query = { after: attempt.cursor, client, name, trace, encoding };
      const signal = AbortSignal.any([stopped.signal, AbortSignal.timeout(TIMEOUT)]);
      const sentAt = performance.now();
      emitPoll({ sentAt, base });
      try {
        const { events, cursor, more } = await requestJSON(roomUrl(room, "short_polling", query, base), { signal });
        emitPoll({ sentAt, receivedAt: performance.now(), events, base });
        attempt.opened();
        events.forEach(attempt.receive);
        attempt.at(cursor);
        if (stopped.signal.aborted) return;
        // This wait costs half the interval on average.  `more` says that the response was cut at its limit.
        timer = setTimeout(poll, more ? 0 : setting("interval") * 1000);
      } catch (error) {
        attempt.ended(error);
      }
    }

    poll();
    return () => {
      stopped.abort();
      clearTimeout(timer);
    };
  }

  const reader = keepConnected(connectOnce, options);
  return { send: (message) => publish(room, message, { base, trace }), close: reader.close };
}
