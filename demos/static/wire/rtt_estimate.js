// An estimate of the round-trip time (RTT).  The tap sees when bytes cross the server's socket, but nothing
// at the browser's end.  The browser, however, measures how long each finished request took; without the time
// that the server took, the round trip remains.  Half of it is our best estimate for either direction: no
// clock of one machine can measure a difference between the two.
//
// A stream that has not ended and a WebSocket have no such measurement.  There a ping and its pong serve,
// which the server's clock alone measures.

const TOLERANCE = 2; // ms: two clocks, neither of them exact
const WINDOW = 2; // the minimum of so many samples is used: few enough to follow a change of the network
const MAX_ENTRIES = 50;
const BACKDATE = 5_000; // ms before the first sample to which it applies, too
const MATCH_TIMEOUT = 3_000;

export class RttEstimate {
  #samples = [];
  #unassigned = []; // {target, since}: they started before the first sample
  #exchanges = new Map(); // path and query: an exchange that waits for the browser's timing
  #timings = new Map(); // path and query: a browser's timing that waits for its exchange

  /** The time of one direction in ms, or undefined before the first sample. */
  get oneWay() {
    return this.#samples.length ? Math.min(...this.#samples) / 2 : undefined;
  }

  /** Set `target.oneWay` to the current estimate, or to the first one as soon as it exists. */
  assign(target) {
    target.oneWay = this.oneWay;
    if (target.oneWay !== undefined) return target;
    this.#unassigned = [...this.#unassigned, { target, since: performance.now() }].slice(-MAX_ENTRIES);
    return target;
  }

  /** Add a measured round trip. */
  addSample(ms) {
    this.#samples = [...this.#samples, ms].slice(-WINDOW);
    for (const { target, since } of this.#unassigned) {
      if (performance.now() - since < BACKDATE) target.oneWay ??= this.oneWay;
    }
    this.#unassigned = [];
  }

  /**
   * Add a finished exchange: `{target, requestStart, requestEnd, responseStart, responseEnd,
   * firstOnConnection}`, with times at the server's socket.  Its `oneWay` is set when the browser's timing
   * is there.
   */
  addExchange(exchange) {
    const timing = take(this.#timings, exchange.target);
    if (timing) this.#match(exchange, timing);
    else put(this.#exchanges, exchange.target, exchange);
  }

  /**
   * Add the browser's PerformanceResourceTiming of a request.  `root` is the path at which a proxy has the
   * server (`--root-path`).
   */
  addTiming(timing, root = "/") {
    const target = targetOf(new URL(timing.name), root);
    const exchange = take(this.#exchanges, target);
    if (exchange) this.#match(exchange, timing);
    else put(this.#timings, target, timing);
  }

  #match(exchange, timing) {
    const rtt = roundTrip(exchange, timing);
    if (rtt === undefined || rtt < -TOLERANCE) return;
    this.addSample(Math.max(0, rtt));
    exchange.oneWay = Math.max(0, rtt) / 2;
  }
}

// For another origin the browser reports only the start and the end.  The first request of a connection
// is then of no use: it contains the TCP handshake, another round trip.
function roundTrip(exchange, timing) {
  const { requestStart, requestEnd, responseStart, responseEnd, firstOnConnection } = exchange;
  if (timing.requestStart > 0) {
    return timing.responseStart - timing.requestStart - (responseStart - requestEnd);
  }
  if (firstOnConnection) return undefined;
  return timing.responseEnd - timing.startTime - (responseEnd - requestStart);
}

// Of several requests for the same URL only the latest can match.  An old entry belongs to a request that
// broke off, whose other half never arrives.
function put(map, key, value) {
  map.delete(key);
  map.set(key, { value, since: performance.now() });
  if (map.size > MAX_ENTRIES) map.delete(map.keys().next().value);
}

function take(map, key) {
  const { value, since } = map.get(key) ?? {};
  map.delete(key);
  return performance.now() - since < MATCH_TIMEOUT ? value : undefined;
}

// The server captures a request without that path.
function targetOf({ pathname, search }, root) {
  return (pathname.startsWith(root) ? pathname.slice(root.length - 1) : pathname) + search;
}
