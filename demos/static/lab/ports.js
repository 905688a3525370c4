// Which transport uses which port.  A browser opens six connections to a host and port, for all its tabs
// together.  An open stream or a waiting poll occupies one of them; a WebSocket is not counted.  Over HTTP/2
// all of them share one connection.

import { ROOT, roomUrl } from "../api.js";

export const MAX_CONNECTIONS = 6;
// The transports that occupy a connection.
const LONG_LIVED = ["long_polling", "iframe_streaming", "sse", "fetch_streaming"];

/** The base URL for a transport: at one of the server's extra `ports`, or undefined for the page's own. */
export function baseFor(transport, ports) {
  if (ports.length < 2) return undefined;
  const extra = ports.slice(1);
  const index = [...LONG_LIVED, "websocket", "sockjs", "socketio"].indexOf(transport);
  if (index < 0) return undefined; // a short poll is over at once
  const base = new URL("/", location);
  base.port = extra[index % extra.length];
  return base;
}

/** How many of the six connections to the page's own port these transports occupy. */
export function connectionsUsed(transports, ports) {
  return transports.filter((one) => LONG_LIVED.includes(one) && !baseFor(one, ports)).length;
}

/** Whether this page came over HTTP/2, where all requests to its port share one connection. */
export function overHTTP2() {
  return performance.getEntriesByType("navigation")[0]?.nextHopProtocol === "h2";
}

/** Open so many WebSockets to the page's own port, which read a room and are no members. */
export function openWebSockets(room, count) {
  const url = roomUrl(room, "websocket", { after: "now" });
  url.protocol = url.protocol.replace("http", "ws");
  return Array.from({ length: count }, () => new WebSocket(url));
}

/**
 * Occupy all six connections to the page's own port, and send one more request: it waits until one
 * is released, or shares a connection over HTTP/2.  Reports to `onStep(step, values)`: "full" {kept},
 * "waiting" {seconds}, and at the end "through" or "shared" {seconds}.
 */
export async function exhaustConnections(room, used, onStep) {
  const stop = new AbortController();
  const { signal } = stop;
  const stream = roomUrl(room, "fetch_streaming", { after: "now" });
  const opened = [];
  for (let n = used; n < MAX_CONNECTIONS; n += 1) opened.push(fetch(stream, { signal, cache: "no-store" }));
  await Promise.all(opened.map((one) => Promise.race([one, sleep(1000)])));
  onStep("full", { kept: MAX_CONNECTIONS });

  const startedAt = performance.now();
  const seconds = () => ((performance.now() - startedAt) / 1000).toFixed(1);
  const timer = setInterval(() => onStep("waiting", { seconds: seconds() }), 100);
  const seventh = fetch(new URL("healthz", ROOT), { cache: "no-store" });
  const waited = await Promise.race([seventh.then(() => false), sleep(4000).then(() => true)]);
  clearInterval(timer);
  opened.forEach((one) => one.catch(() => {})); // the abort below is not an error
  stop.abort();
  await seventh;
  onStep(waited ? "through" : "shared", { seconds: seconds() });
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
