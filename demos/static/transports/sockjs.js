// SockJS: the library looks for a transport that works here, and gives us an object like a WebSocket.
// Its session is lost when it ends, so our first message says which client we are and our cursor.

import { PendingAcks, notConnected } from "../acks.js";
import { ApiError, ROOT, withSecret } from "../api.js";
import { libraryMissing, loadScript, noTransportAllowed } from "../load_script.js";
import { uuid } from "../publish.js";
import { keepConnected } from "../reconnect.js";
import { diagnose, probingWatchdog } from "../watchdog.js";

// In the order in which the library tries them, in today's browsers.
export const LIBRARY_TRANSPORTS = [
  "websocket", "xhr-streaming", "eventsource", "iframe-eventsource", "xhr-polling", "iframe-xhr-polling",
];
// The library's default is 8 characters of 32: a client that guesses one takes over the session (see
// docs/sessions.md).
const ID_LENGTH = 16;
const REFUSED = 4403; // the server's own: 4000 + the HTTP status

export function connect(room, { client, name, base, trace, setting, onTransports = () => {}, ...options }) {
  const acks = new PendingAcks();
  let open; // the session, once the room has accepted our join

  function connectOnce(attempt) {
    const dead = probingWatchdog(room, attempt, base);
    let session;
    let stopped = false;

    async function start() {
      const transports = LIBRARY_TRANSPORTS.filter((one) => setting(`allow-${one}`) !== false);
      if (!transports.length) return attempt.ended(noTransportAllowed());
      const SockJS = await loadScript("sockjs-client/sockjs.min.js", "SockJS");
      if (stopped) return;
      if (!SockJS) return attempt.ended(libraryMissing());
      session = new SockJS(sessionUrl(client, trace, base), null, { transports, sessionId: ID_LENGTH });
      session.onopen = join;
      session.onheartbeat = dead.reset;
      session.onmessage = ({ data }) => {
        dead.reset();
        const frame = JSON.parse(data);
        if (!acks.receive(frame)) attempt.receive(frame);
      };
      session.onclose = async ({ code, reason }) => {
        const wasOpen = open === session;
        closed();
        if (code === REFUSED) return attempt.ended(new ApiError(reason));
        attempt.ended(wasOpen ? undefined : await diagnose(room, attempt, { client, name }, base));
      };
    }

    async function join() {
      onTransports([session.transport]);
      dead.reset();
      const message = { kind: "join", id: uuid(), room, client, name, after: attempt.cursor };
      try {
        const { cursor } = await acks.wait(message.id, () => session.send(JSON.stringify(message)));
        if (attempt.cursor === message.after) attempt.at(cursor); // else events came first
      } catch (error) {
        return attempt.ended(error);
      }
      open = session;
      attempt.opened();
    }

    start();
    return () => {
      stopped = true;
      dead.stop();
      if (session) session.onclose = null;
      session?.close();
      closed();
    };
  }

  async function send(message) {
    if (!open) throw notConnected();
    return acks.wait(message.id, () => open.send(JSON.stringify(message)));
  }

  function closed() {
    open = undefined;
    acks.rejectAll();
  }

  const reader = keepConnected(connectOnce, options);
  return { send, close: reader.close };
}

// The library repeats the query of this URL in all its requests.  So the join, a frame, needs no secret.
function sessionUrl(client, trace, base = ROOT) {
  const url = new URL("sockjs", base);
  url.search = new URLSearchParams(withSecret({ client, trace }));
  return url.href;
}
