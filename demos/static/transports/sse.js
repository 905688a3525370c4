// Server-sent events: the browser reads the endless answer, and reconnects by itself.
// It then says in `Last-Event-ID` where it was; when the server answers with an error, it gives up.

import { address } from "../ask.js";
import { keepConnected } from "../reconnect.js";
import { post } from "../send.js";
import { blindWatchdog, whyNot } from "../watchdog.js";

export function connect(room, { client, name, base, trace, ...options }) {
  function live(life) {
    const query = { after: life.cursor, client, name, trace };
    const source = new EventSource(address(room, "sse", query, base));
    // EventSource drops comments, and so the heartbeats, without a word.
    const dog = blindWatchdog(room, life, base);

    source.onopen = () => {
      dog.heard();
      life.opened();
    };
    source.onmessage = ({ data }) => {
      dog.heard();
      life.receive(JSON.parse(data));
    };
    source.onerror = async () => {
      // After a broken stream it is CONNECTING: the browser tries again, every few seconds.
      if (source.readyState === EventSource.CONNECTING) life.paused();
      // After any status but 200 it is CLOSED for good, and does not say which it was.
      else life.ended(await whyNot(room, life, name, base));
    };

    return () => {
      dog.stop();
      source.close();
    };
  }

  const reader = keepConnected(live, options);
  return { send: (message) => post(room, message, { base, trace }), close: reader.close };
}
