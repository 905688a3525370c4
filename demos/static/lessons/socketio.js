// The lesson of Socket.IO: from long polls to a WebSocket, packet by packet.

import { showSteps } from "./steps.js";

// Longer prefixes first: a Socket.IO packet is the payload of an Engine.IO message.
const PACKETS = [
  ["0{", "open"], ["40", "connect"], ["41", "leave"], ["42", "event"], ["43", "ack"],
  ["2probe", "probe"], ["3probe", "probed"], ["2", "ping"], ["3", "pong"], ["5", "upgrade"],
  ["6", "noop"], ["1", "close"],
];

export function showLesson(element, page) {
  showSteps(element, page, {
    transport: "socketio",
    isFirst: ({ target = "" }) => target.startsWith("/socket.io/") && !target.includes("sid="),
    hasEvent: (text) => text.includes('42["event"'),
    meaning,
  });
}

function meaning({ target = "", method, text, status }) {
  const packet = PACKETS.find(([start]) => text.startsWith(start))?.[1];
  if (status === 101) return "lesson.steps.switched";
  if (packet) return `lesson.socketio.${packet}`;
  if (method === "GET" && target.includes("transport=websocket")) return "lesson.socketio.ask-upgrade";
  if (method === "GET") return target.includes("sid=") ? "lesson.socketio.poll" : "lesson.socketio.hello";
  return text === "ok" ? "lesson.socketio.taken" : undefined;
}
