// Socket.IO: the library starts with long polling, which works everywhere, and upgrades to a WebSocket
// where it can.  It could also reconnect, but it does not keep our cursor, so we do that.

import { PendingAcks, notConnected } from "../acks.js";
import { ApiError, ROOT, withSecret } from "../api.js";
import { libraryMissing, loadScript, noTransportAllowed } from "../load_script.js";
import { keepConnected } from "../reconnect.js";
import { diagnose, probingWatchdog } from "../watchdog.js";

export const LIBRARY_TRANSPORTS = ["polling", "websocket"];

export function connect(room, { client, name, base, trace, setting, onTransports = () => {}, ...options }) {
  const acks = new PendingAcks();
  let open; // the socket, while it is connected

  function connectOnce(attempt) {
    const dead = probingWatchdog(room, attempt, base);
    let socket, error;
    let stopped = false;

    async function start() {
      const transports = LIBRARY_TRANSPORTS.filter((one) => setting(`allow-${one}`) !== false);
      if (!transports.length) return attempt.ended(noTransportAllowed());
      const io = await loadScript("socket.io-client/socket.io.min.js", "io");
      if (stopped) return;
      if (!io) return attempt.ended(libraryMissing());
      const query = withSecret({ roomid: room, client, name, after: attempt.cursor, trace });
      const { origin, pathname: path } = new URL("socket.io", base ?? ROOT);
      socket = io(origin, { path, query, transports, reconnection: false, forceNew: true });
      listen();
    }

    function listen() {
      const { engine } = socket.io;
      const used = [];
      const report = () => {
        used.push(engine.transport.name);
        onTransports(used);
      };
      engine.on("open", report);
      engine.on("upgrade", report); // may come before "connect"
      socket.on("connect", () => {
        open = socket;
        dead.reset();
        attempt.opened();
      });
      socket.io.on("ping", dead.reset);
      socket.on("event", (event) => {
        dead.reset();
        attempt.receive(event);
      });
      socket.on("trouble", ({ code, message }) => { error = new ApiError(code, message); });
      socket.on("disconnect", () => {
        closed();
        attempt.ended(error);
      });
      socket.on("connect_error", async () => {
        closed();
        attempt.ended(await diagnose(room, attempt, { client, name }, base));
      });
    }

    start();
    return () => {
      stopped = true;
      dead.stop();
      socket?.off();
      socket?.disconnect();
      closed();
    };
  }

  // The callback receives what a frame carries on our WebSocket, without the id.
  async function send(message) {
    if (!open) throw notConnected();
    return acks.wait(message.id, () => {
      open.emit("say", message, (frame) => acks.receive({ ...frame, id: message.id }));
    });
  }

  function closed() {
    open = undefined;
    acks.rejectAll();
  }

  const reader = keepConnected(connectOnce, options);
  return { send, close: reader.close };
}
