// Fetch streaming: what EventSource does in the browser, done by hand: read, split into lines, parse.
// In return the page sees everything: the status, the error, and the empty lines that are heartbeats.

import { networkError, request, roomUrl } from "../api.js";
import { lines } from "../lines.js";
import { publish } from "../publish.js";
import { keepConnected } from "../reconnect.js";
import { watchdog } from "../watchdog.js";

export function connect(room, { client, name, base, trace, encoding, ...options }) {
  function connectOnce(attempt) {
    const stopped = new AbortController();
    const dead = watchdog(() => attempt.ended());

    async function read() {
      const query = { after: attempt.cursor, client, name, trace, encoding };
      const { signal } = stopped;
      const response = await request(roomUrl(room, "fetch_streaming", query, base), { signal });
      attempt.opened();
      for await (const line of lines(response.body)) {
        dead.reset();
        if (line) attempt.receive(JSON.parse(line));
      }
    }

    // A stream that breaks off is an error like any other: reconnect with the cursor.
    read().then(() => attempt.ended(), (error) => attempt.ended(readError(error)));
    return () => {
      dead.stop();
      stopped.abort();
    };
  }

  const reader = keepConnected(connectOnce, options);
  return { send: (message) => publish(room, message, { base, trace }), close: reader.close };
}

// A stream that breaks off rejects with an error of the browser.
function readError(error) {
  return error instanceof TypeError ? networkError("broken_answer") : error;
}
