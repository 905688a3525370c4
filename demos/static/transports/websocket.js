// WebSocket: one connection for both ways (RFC 6455).  A message goes up as a frame and is answered
// by a frame that repeats its id, since on a socket nothing else says which answer belongs to what.

import { address, refused, Trouble } from "../ask.js";
import { keepConnected } from "../reconnect.js";
import { blindWatchdog, whyNot } from "../watchdog.js";
import { t } from "../words.js";

const PATIENCE = 10_000;
const TOO_BIG = 1009; // RFC 6455 §7.4.1

export function connect(room, { client, name, base, trace, ...options }) {
  const waiting = new Map(); // id: the message's {resolve, reject}
  let open; // the socket, while it is one

  function live(life) {
    const url = address(room, "websocket", { after: life.cursor, client, name, trace }, base);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    // The browser answers the server's pings itself, and tells nobody.
    const dog = blindWatchdog(room, life, base);

    socket.onopen = () => {
      open = socket;
      dog.heard();
      life.opened();
    };
    socket.onmessage = ({ data }) => {
      dog.heard();
      const said = JSON.parse(data);
      if (said.kind === "ack") settle(said.id, "resolve", said);
      else if (said.kind === "error") settle(said.id, "reject", complaint(said));
      else life.receive(said);
    };
    socket.onclose = async ({ code }) => {
      const begun = open === socket;
      lost(code);
      // A refused handshake and a dead network look the same from here (1006).
      life.ended(begun ? undefined : await whyNot(room, life, name, base));
    };

    return () => {
      dog.stop();
      socket.onclose = null;
      socket.close();
      lost();
    };
  }

  function send(message) {
    return new Promise((resolve, reject) => {
      if (!open) return reject(new Trouble("network", t("trouble.no_connection")));
      const late = new Trouble("network", t("trouble.no_answer"));
      const timer = setTimeout(() => settle(message.id, "reject", late), PATIENCE);
      waiting.set(message.id, { resolve, reject, timer });
      open.send(JSON.stringify(message));
    });
  }

  function settle(id, how, value) {
    const one = waiting.get(id);
    clearTimeout(one?.timer);
    waiting.delete(id);
    one?.[how](value);
  }

  // Whether a frame without an answer arrived is unknown; its id makes it safe to send again.
  function lost(code) {
    open = undefined;
    const trouble = code === TOO_BIG
      ? refused("too_long")
      : new Trouble("network", t("trouble.broken_connection"));
    for (const id of [...waiting.keys()]) settle(id, "reject", trouble);
  }

  const reader = keepConnected(live, options);
  return { send, close: reader.close };
}

function complaint({ code, message, retry_after: retryAfter }) {
  return refused(code, message, { retryAfter });
}
