// WebSocket: one connection for both ways (RFC 6455).  A message goes up as a frame and is answered
// by a frame that repeats its id, since on a socket nothing else says which answer belongs to what.

import { address, refused } from "../ask.js";
import { Answers, unconnected } from "../answers.js";
import { keepConnected } from "../reconnect.js";
import { blindWatchdog, whyNot } from "../watchdog.js";

const TOO_BIG = 1009; // RFC 6455 §7.4.1

export function connect(room, { client, name, base, trace, ...options }) {
  const answers = new Answers();
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
      if (!answers.hear(said)) life.receive(said);
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

  async function send(message) {
    if (!open) throw unconnected();
    return answers.wait(message.id, () => open.send(JSON.stringify(message)));
  }

  function lost(code) {
    open = undefined;
    answers.lost(code === TOO_BIG ? refused("too_long") : undefined);
  }

  const reader = keepConnected(live, options);
  return { send, close: reader.close };
}
