// The same messages over the same lossy line: by WebSocket, by the stream of WebTransport, and by its datagrams.

import { networkError } from "../api.js";
import { number } from "../i18n.js";
import { uuid } from "../publish.js";
import { connect as connectWebSocket } from "../transports/websocket.js";
import { connect as connectWebTransport } from "../transports/webtransport.js";
import { sleep, testUser } from "./helpers.js";

export const COUNT = 100;
export const ROUND_TRIP = 100; // ms
export const LANES = ["websocket", "stream", "datagrams"];
// ms between two messages: with fewer, QUIC would send them later on a line that loses, since each loss halves the
// number of packets that may be on their way (RFC 9002 §7.3)
const INTERVAL = 40;
const SENDERS = 4; // the server limits the rate of one
const OPEN_TIMEOUT = 20_000; // ms: a lossy line also loses handshakes
const PATIENCE = 10_000; // ms for the last message

/** The conditions of such a line; `loss` is in per cent. */
export function conditions(loss) {
  return loss ? `rtt=${ROUND_TRIP}ms,loss=${loss}%` : `rtt=${ROUND_TRIP}ms`;
}

/**
 * Publish `COUNT` messages directly to the server, and receive them through `base`.  `onDelay(lanes)` is called after
 * each arrival; resolves with `lanes`: by the name of the lane, in the order of sending, how many ms each message came
 * after the same message without the line.  So a busy server or browser, which delays both, is no delay of the line.
 */
export async function sendOverLossyLine(base, onDelay) {
  const room = `lossy-${uuid()}`; // a separate one, so that the chat stays short
  const lanes = Object.fromEntries(LANES.map((lane) => [lane, new Array(COUNT).fill(undefined)]));
  const order = new Map(); // id: which message it is
  const direct = new Map(); // id: when it came without the line
  const receive = (lane) => ({ id }) => {
    if (!order.has(id)) return;
    const now = performance.now();
    lanes[lane][order.get(id)] ??= now - (direct.get(id) ?? now);
    onDelay(lanes);
  };
  const connections = [
    opened(connectWebSocket, room, { onEvent: ({ id }) => direct.set(id, performance.now()) }),
    opened(connectWebSocket, room, { base, onEvent: receive("websocket") }),
    opened(connectWebTransport, room, { base, onEvent: receive("stream"), onDatagram: receive("datagrams") }),
  ];
  try {
    await Promise.all(connections.map(({ open }) => open));
    await publishAll(room, order);
    await complete(lanes);
    await sleep(ROUND_TRIP); // for the last datagram
  } finally {
    connections.forEach(({ connection }) => connection.close());
  }
  return lanes;
}

/** A connection, and the promise that it is open. */
function opened(connect, room, options) {
  let connection;
  const open = new Promise((resolve, reject) => {
    setTimeout(reject, OPEN_TIMEOUT, networkError("no_answer"));
    const onState = (state, { error } = {}) => {
      if (state === "open") resolve();
      if (state === "refused") reject(error);
    };
    connection = connect(room, { after: "now", ...options, onState });
  });
  return { connection, open };
}

async function publishAll(room, order) {
  const users = Array.from({ length: SENDERS }, () => testUser(room));
  const start = performance.now();
  const done = [];
  for (let n = 0; n < COUNT; n += 1) {
    await sleep(start + n * INTERVAL - performance.now());
    const message = users[n % SENDERS].send(number(n + 1), "lesson");
    order.set(message.id, n);
    done.push(message.done);
  }
  await Promise.all(done);
}

// Both reliable lanes have everything, or have had enough time for it.
async function complete({ websocket, stream }) {
  const until = performance.now() + PATIENCE;
  while ([websocket, stream].some((delays) => delays.includes(undefined)) && performance.now() < until) await sleep(50);
}
