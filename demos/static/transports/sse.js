// Server-sent events: the browser reads the streaming response, and reconnects by itself.
// It then sends its position as `Last-Event-ID`; when the server responds with an error, it gives up.

import { roomUrl } from "../api.js";
import { publish } from "../publish.js";
import { keepConnected } from "../reconnect.js";
import { diagnose, probingWatchdog } from "../watchdog.js";

export function connect(room, { client, name, base, trace, encoding, ...options }) {
  function connectOnce(attempt) {
    const query = { after: attempt.cursor, client, name, trace, encoding };
    const source = new EventSource(roomUrl(room, "sse", query, base));
    // EventSource drops comments, and so the heartbeats, without an event.
    const dead = probingWatchdog(room, attempt, base);

    source.onopen = () => {
      dead.reset();
      attempt.opened();
    };
    source.onmessage = ({ data }) => {
      dead.reset();
      attempt.receive(JSON.parse(data));
    };
    source.onerror = async () => {
      // After a broken stream the state is CONNECTING: the browser retries every few seconds.
      if (source.readyState === EventSource.CONNECTING) attempt.paused();
      // After any status but 200 it is CLOSED for good, and the page does not learn the status.
      else attempt.ended(await diagnose(room, attempt, { client, name, encoding }, base));
    };

    return () => {
      dead.stop();
      source.close();
    };
  }

  const reader = keepConnected(connectOnce, options);
  return { send: (message) => publish(room, message, { base, trace }), close: reader.close };
}
