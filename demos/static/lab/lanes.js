// Which transport goes by which port.  A browser opens six connections to a host and port, for all of
// its tabs together, and an open stream or a waiting poll keeps one of them; WebSockets are not counted.

export const SIX = 6;
// Those that keep a connection.
const KEEPERS = ["long_polling", "iframe_streaming", "sse", "fetch_streaming"];

/** Give the base of a transport: a URL at one of the `lanes`, or undefined for the page's own. */
export function laneOf(transport, lanes) {
  if (lanes.length < 2) return undefined;
  const others = lanes.slice(1);
  const place = [...KEEPERS, "websocket", "sockjs", "socketio"].indexOf(transport);
  if (place < 0) return undefined; // a short poll is over at once
  const base = new URL("/", location);
  base.port = others[place % others.length];
  return base;
}

/** How many of the six this tab keeps at the page's own port. */
export function keptHere(transports, lanes) {
  return transports.filter((one) => KEEPERS.includes(one) && !laneOf(one, lanes)).length;
}

/**
 * Keep all six connections of the page's own port, and ask one question more: it waits until one is
 * let go.  `tell(step, values)` is told of "full" {kept}, "waiting" {seconds} and "through" {seconds}.
 */
export async function starve(room, kept, tell) {
  const stop = new AbortController();
  const { signal } = stop;
  const stream = new URL(`/rooms/${encodeURIComponent(room)}/fetch_streaming?after=now`, location);
  const opened = [];
  for (let n = kept; n < SIX; n += 1) opened.push(fetch(stream, { signal, cache: "no-store" }));
  await Promise.all(opened.map((one) => Promise.race([one, after(1000)])));
  tell("full", { kept: SIX });

  const begun = performance.now();
  const seconds = () => ((performance.now() - begun) / 1000).toFixed(1);
  const clock = setInterval(() => tell("waiting", { seconds: seconds() }), 100);
  const seventh = fetch(new URL("/healthz", location), { cache: "no-store" });
  await Promise.race([seventh, after(4000)]);
  clearInterval(clock);
  opened.forEach((one) => one.catch(() => {})); // they end by our own hand
  stop.abort();
  await seventh;
  tell("through", { seconds: seconds() });
}

function after(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
