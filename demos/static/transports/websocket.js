// WebSocket: one connection for both directions (RFC 6455).  A message goes up as a frame, and is acknowledged by a
// frame with its id.

import { PendingAcks, notConnected } from "../acks.js";
import { ApiError, roomUrl } from "../api.js";
import { secretOf } from "../identity.js";
import { keepConnected } from "../reconnect.js";
import { diagnose, probingWatchdog } from "../watchdog.js";

const TOO_BIG = 1009; // RFC 6455 §7.4.1
const REFUSED = 4403; // the server's own: 4000 + the HTTP status

export function connect(room, { client, name, base, trace, encoding, ackTimeout, ...options }) {
  const acks = new PendingAcks(ackTimeout);
  let open; // the socket, while it is open

  function connectOnce(attempt) {
    const url = roomUrl(room, "websocket", { after: attempt.cursor, client, name, trace, encoding }, base);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    // The browser answers pings itself, without an event.
    const dead = probingWatchdog(room, attempt, base);

    socket.onopen = () => {
      open = socket;
      dead.reset();
      attempt.opened();
    };
    socket.onmessage = ({ data }) => {
      dead.reset();
      const frame = JSON.parse(data);
      if (!acks.receive(frame)) attempt.receive(frame);
    };
    socket.onclose = async ({ code, reason }) => {
      const wasOpen = open === socket;
      closed(code);
      if (code === REFUSED) return attempt.ended(new ApiError(reason));
      // A refused handshake and a dead network look the same from here (1006).
      attempt.ended(wasOpen ? undefined : await diagnose(room, attempt, { client, name }, base));
    };

    return () => {
      dead.stop();
      socket.onclose = null;
      socket.close();
      closed();
    };
  }

  // A socket that is closing drops what it sends, before it reports that it is closed.
  const isOpen = () => open?.readyState === WebSocket.OPEN;

  async function send(message) {
    if (!isOpen()) throw notConnected();
    // The connection was opened with the secret of its client only.
    const secret = message.client === client ? undefined : secretOf(message.client);
    return acks.wait(message.id, () => open.send(JSON.stringify({ ...message, secret })));
  }

  function closed(code) {
    open = undefined;
    acks.rejectAll(code === TOO_BIG ? new ApiError("too_long") : undefined);
  }

  const reader = keepConnected(connectOnce, options);
  return { send, isOpen, close: reader.close };
}
