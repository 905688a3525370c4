// SockJS: the library looks for a way that works here, and gives us something like a WebSocket.
// Its session forgets us when it ends; so the first message says where we are, and as whom.

import { Answers, unconnected } from "../answers.js";
import { library, noLibrary, noWay } from "../library.js";
import { keepConnected } from "../reconnect.js";
import { uuid } from "../send.js";
import { blindWatchdog, whyNot } from "../watchdog.js";

// In the order in which the library tries them, in browsers of today.
export const WAYS = [
  "websocket", "xhr-streaming", "eventsource", "iframe-eventsource", "xhr-polling", "iframe-xhr-polling",
];
// Its own default is 8 characters, of 32: whoever guesses one may be somebody else (see docs/sessions.md).
const ID_LENGTH = 16;

export function connect(room, { client, name, base, trace, knob, onWays = () => {}, ...options }) {
  const answers = new Answers();
  let open; // the session, when the room has let us in

  function live(life) {
    const dog = blindWatchdog(room, life, base);
    let session;
    let stopped = false;

    async function begin() {
      const transports = WAYS.filter((way) => knob(`allow-${way}`) !== false);
      if (!transports.length) return life.ended(noWay());
      const SockJS = await library("sockjs-client/sockjs.min.js", "SockJS");
      if (stopped) return;
      if (!SockJS) return life.ended(noLibrary());
      session = new SockJS(address(client, trace, base), null, { transports, sessionId: ID_LENGTH });
      session.onopen = enter;
      session.onheartbeat = dog.heard;
      session.onmessage = ({ data }) => {
        dog.heard();
        const said = JSON.parse(data);
        if (!answers.hear(said)) life.receive(said);
      };
      session.onclose = async () => {
        const begun = open === session;
        lost();
        life.ended(begun ? undefined : await whyNot(room, life, name, base));
      };
    }

    async function enter() {
      onWays([session.transport]);
      dog.heard();
      const join = { kind: "join", id: uuid(), room, client, name, after: life.cursor };
      try {
        await answers.wait(join.id, () => session.send(JSON.stringify(join)));
      } catch (trouble) {
        return life.ended(trouble);
      }
      open = session;
      life.opened();
    }

    begin();
    return () => {
      stopped = true;
      dog.stop();
      if (session) session.onclose = null;
      session?.close();
      lost();
    };
  }

  async function send(message) {
    if (!open) throw unconnected();
    return answers.wait(message.id, () => open.send(JSON.stringify(message)));
  }

  function lost() {
    open = undefined;
    answers.lost();
  }

  const reader = keepConnected(live, options);
  return { send, close: reader.close };
}

// Of its own address the library keeps the query for all that it asks.
function address(client, trace, base = location) {
  const url = new URL("/sockjs", base);
  url.search = new URLSearchParams({ client, ...(trace && { trace }) });
  return url.href;
}
