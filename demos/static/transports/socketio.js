// Socket.IO: the library begins with polls, which go everywhere, and upgrades to a WebSocket where it can.
// It would also reconnect; but where we were in the room only we know.

import { Answers, unconnected } from "../answers.js";
import { refused } from "../ask.js";
import { library, noLibrary, noWay } from "../library.js";
import { keepConnected } from "../reconnect.js";
import { blindWatchdog, whyNot } from "../watchdog.js";

export const WAYS = ["polling", "websocket"];

export function connect(room, { client, name, base, trace, knob, onWays = () => {}, ...options }) {
  const answers = new Answers();
  let open; // the socket, while it is connected

  function live(life) {
    const dog = blindWatchdog(room, life, base);
    let socket, trouble;
    let stopped = false;

    async function begin() {
      const transports = WAYS.filter((way) => knob(`allow-${way}`) !== false);
      if (!transports.length) return life.ended(noWay());
      const io = await library("socket.io-client/socket.io.min.js", "io");
      if (stopped) return;
      if (!io) return life.ended(noLibrary());
      const query = given({ roomid: room, client, name, after: life.cursor, trace });
      const { origin } = new URL(base ?? location);
      socket = io(origin, { query, transports, reconnection: false, forceNew: true });
      listen();
    }

    function listen() {
      const { engine } = socket.io;
      const ways = [];
      const taken = () => {
        ways.push(engine.transport.name);
        onWays(ways);
      };
      engine.on("open", taken);
      engine.on("upgrade", taken); // which may come before the rest is said
      socket.on("connect", () => {
        open = socket;
        dog.heard();
        life.opened();
      });
      socket.io.on("ping", dog.heard);
      socket.on("event", (event) => {
        dog.heard();
        life.receive(event);
      });
      socket.on("trouble", ({ code, message }) => { trouble = refused(code, message); });
      socket.on("disconnect", () => {
        lost();
        life.ended(trouble);
      });
      socket.on("connect_error", async () => {
        lost();
        life.ended(await whyNot(room, life, name, base));
      });
    }

    begin();
    return () => {
      stopped = true;
      dog.stop();
      socket?.off();
      socket?.disconnect();
      lost();
    };
  }

  // Its callback brings what a frame brings on our WebSocket.
  async function send(message) {
    if (!open) throw unconnected();
    return answers.wait(message.id, () => {
      open.emit("say", message, (said) => answers.hear({ ...said, id: message.id }));
    });
  }

  function lost() {
    open = undefined;
    answers.lost();
  }

  const reader = keepConnected(live, options);
  return { send, close: reader.close };
}

function given(query) {
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined));
}
