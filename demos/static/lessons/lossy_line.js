// The same messages over the same lossy line: by WebSocket, by the stream of WebTransport, and by its datagrams.

import { ApiError } from "../api.js";
import { t } from "../i18n.js";
import { uuid } from "../publish.js";
import { connect as connectWebSocket } from "../transports/websocket.js";
import { connect as connectWebTransport } from "../transports/webtransport.js";
import { sleep, testUser } from "./helpers.js";

export const COUNT = 100;
export const ROUND_TRIP = 100; // ms
export const LANES = ["websocket", "stream", "datagrams"];
const INTERVAL = 30; // ms between two messages
const SENDERS = 4; // the server limits the rate of one
const TEXT_LENGTH = 100; // characters
const OPEN_TIMEOUT = 20_000; // ms: a lossy line also loses handshakes
const PATIENCE = 10_000; // ms for the last message

/** The conditions of such a line; `loss` is in per cent. */
export function conditions(loss) {
  return loss ? `rtt=${ROUND_TRIP}ms,loss=${loss}%` : `rtt=${ROUND_TRIP}ms`;
}

/**
 * Publish `COUNT` messages directly to the server, and receive them through `base`.  `onDelay(lanes)` is called after
 * each arrival; resolves with `lanes`: the delays in ms by the name of the lane, in the order of sending.
 */
export async function sendOverLossyLine(base, onDelay) {
  const room = `lossy-${uuid()}`; // a separate one, so that the chat stays short
  const lanes = Object.fromEntries(LANES.map((lane) => [lane, new Array(COUNT).fill(undefined)]));
  const sent = new Map(); // id: {n, at}
  const receive = (lane) => ({ id }) => {
    const { n, at } = sent.get(id) ?? {};
    if (n === undefined) return;
    lanes[lane][n] ??= performance.now() - at;
    onDelay(lanes);
  };
  const connections = [
    opened(connectWebSocket, room, { base, onEvent: receive("websocket") }),
    opened(connectWebTransport, room, { base, onEvent: receive("stream"), onDatagram: receive("datagrams") }),
  ];
  try {
    await Promise.all(connections.map(({ open }) => open));
    await publishAll(room, sent);
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
    const late = new ApiError("network", t("trouble.no_answer"));
    setTimeout(reject, OPEN_TIMEOUT, late);
    const onState = (state, { error } = {}) => {
      if (state === "open") resolve();
      if (state === "refused") reject(error);
    };
    connection = connect(room, { after: "now", ...options, onState });
  });
  return { connection, open };
}

async function publishAll(room, sent) {
  const users = Array.from({ length: SENDERS }, () => testUser(room));
  const start = performance.now();
  const done = [];
  for (let n = 0; n < COUNT; n += 1) {
    await sleep(start + n * INTERVAL - performance.now());
    const message = users[n % SENDERS].send(`${n} `.padEnd(TEXT_LENGTH, "·"), "lesson");
    sent.set(message.id, { n, at: performance.now() });
    done.push(message.done);
  }
  await Promise.all(done);
}

// Both reliable lanes have everything, or have had enough time for it.
async function complete({ websocket, stream }) {
  const until = performance.now() + PATIENCE;
  while ([websocket, stream].some((delays) => delays.includes(undefined)) && performance.now() < until) await sleep(50);
}
