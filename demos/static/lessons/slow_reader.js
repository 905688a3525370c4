// A page that reads its WebSocket slowly, while others publish quickly: how much the server has sent, and where the
// rest waits.  A WebSocket gives the page everything that arrives; a WebSocketStream only what the page reads, so
// that a slow page slows the server down.

import { networkError, ROOT, roomUrl } from "../api.js";
import { uuid } from "../publish.js";
import { openTap } from "../wire/tap.js";
import { sleep, testUser } from "./helpers.js";

export const COUNT = 250; // messages …
const LENGTH = 4_000; // … of so many characters: a megabyte, more than all buffers on the way
const RATE = 40; // messages per second
const SENDERS = 4; // the server limits the rate of one
const MAX_TIME = 120_000; // ms
const CHECK = 50; // ms between two looks at the speed
const ABNORMAL = 1006; // without a close frame (RFC 6455 §7.1.5)

export const SOURCES = { stream: openStream, socket: openSocket };

/** Whether this browser has WebSocketStream. */
export function hasStreams() {
  return "WebSocketStream" in globalThis;
}

/**
 * Publish `COUNT` messages, and read them with `speed()` messages per second, through `SOURCES[kind]`.  Calls
 * `onChange(state)`; `state` is `{published, sent, read, queued, closed}`: bytes published, sent by the server, read
 * by the page, and received but not read; `closed` is why the connection ended early.
 */
export async function readSlowly(kind, speed, onChange) {
  const room = `slow-${uuid()}`; // a separate one, so that the chat stays short
  const state = { published: 0, sent: 0, read: 0, queued: 0, closed: undefined };
  const tap = await openTap();
  const url = roomUrl(room, "websocket", { after: "now", trace: tap.secret }, ROOT);
  url.protocol = url.protocol.replace("http", "ws");
  const source = await SOURCES[kind](url);
  const change = (values) => onChange(Object.assign(state, values, { queued: source.queued() }));
  let isClosed = false; // by the server, which a page that reads nothing does not notice
  tap.on(({ direction, bytes, dropped = 0, closed = false }) => {
    isClosed ||= closed;
    if (direction === "down" || dropped) change({ sent: state.sent + (bytes?.length ?? dropped) });
  });
  const stopped = new AbortController();
  let count = 0; // of published messages
  let size = LENGTH; // of one of them as an event, known from the first
  const publishing = publishAll(room, stopped.signal, () => change({ published: ++count * size }));
  try {
    await Promise.all([publishing, readAll(source, speed, () => isClosed, (bytes) => {
      size = bytes;
      change({ read: state.read + bytes, published: count * size });
    })]);
  } catch (error) {
    if (!(error instanceof SourceClosed)) throw error;
    change({ closed: error });
  } finally {
    stopped.abort();
    publishing.catch(() => {});
    source.close();
    tap.close();
  }
  return state;
}

async function publishAll(room, signal, onPublished) {
  const users = Array.from({ length: SENDERS }, () => testUser(room));
  const start = performance.now();
  for (let n = 0; n < COUNT && !signal.aborted; n += 1) {
    await sleep(start + (n * 1000) / RATE - performance.now());
    await users[n % SENDERS].send(`${n} `.padEnd(LENGTH, "."), "websocket").done;
    onPublished();
  }
}

async function readAll(source, speed, isClosed, onRead) {
  const end = performance.now() + MAX_TIME;
  for (let n = 0; n < COUNT; n += 1) {
    await untilDue(speed, isClosed, end);
    if (isClosed() && !speed()) throw new SourceClosed({ code: ABNORMAL });
    if (performance.now() > end) throw networkError("no_answer");
    onRead(new TextEncoder().encode(await source.read()).length);
  }
}

// The speed may change meanwhile; 0 is a reader that has stopped.
async function untilDue(speed, isClosed, end) {
  const since = performance.now();
  const isDue = () => (speed() > 0 ? performance.now() - since >= 1000 / speed() : isClosed());
  while (!isDue() && performance.now() < end) await sleep(Math.min(CHECK, 1000 / (speed() || 1)));
}

// --- the two interfaces ------------------------------------------------------------------------------

/** The connection ended before all was read. */
class SourceClosed extends Error {
  constructor({ code, reason }) {
    super(reason);
    Object.assign(this, { code, reason });
  }
}

/** `{read(), queued(), close()}`: `read` resolves with the next message, which the browser has taken only for this. */
async function openStream(url) {
  const socket = new WebSocketStream(url);
  socket.closed.catch(() => {}); // `read` reports it
  const { readable } = await socket.opened.catch(notOpened);
  const reader = readable.getReader();
  return {
    async read() {
      const { done, value } = await reader.read().catch(() => ({ done: true }));
      if (!done) return value;
      const { closeCode: code, reason } = await socket.closed.catch((error) => error);
      throw new SourceClosed({ code, reason });
    },
    queued: () => 0,
    close: () => socket.close(),
  };
}

/** The same with a WebSocket: its messages come whether or not they are wanted, and wait in the page's memory. */
function openSocket(url) {
  const socket = new WebSocket(url);
  const messages = [];
  let wake = () => {};
  let closed;
  socket.onmessage = ({ data }) => {
    messages.push(data);
    wake();
  };
  const source = {
    async read() {
      while (!messages.length) {
        if (closed) throw new SourceClosed(closed);
        await new Promise((resolve) => { wake = resolve; });
      }
      return messages.shift();
    },
    queued: () => messages.reduce((sum, { length }) => sum + length, 0),
    close: () => socket.close(),
  };
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve(source);
    socket.onclose = (event) => {
      closed = event;
      wake();
      reject(networkError("no_connection"));
    };
  });
}

function notOpened() {
  throw networkError("no_connection");
}
