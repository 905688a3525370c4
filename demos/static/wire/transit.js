// How long the way is.  The tap sees when bytes cross the server's socket, and nothing of the browser's
// end.  But the browser tells how long each finished request took; take off the time that the server
// had it, and the round trip is left.  Half of it is our best guess for either way: no clock of one
// machine could tell whether one way is longer than the other.
//
// Nothing is known of a stream that has not ended, or of a WebSocket; there a ping and its pong
// serve, which the server's own clock times.

const INEXACT = 2; // ms: two clocks, neither of which is exact
const KEPT = 2; // the smallest of so many is used: new enough to follow a network that was changed
const MOST = 50; // things that are remembered
const RECENT = 5_000; // ms: so far back the first measure is taken to be true as well

export class Transit {
  #samples = [];
  #unknown = []; // {way, since}: things that left before anything was measured
  #waiting = new Map(); // path and query: an exchange that the server has ended
  #timings = new Map(); // path and query: what the browser told before the tap

  /** The time one way in ms, or undefined as long as nothing was measured. */
  get oneWay() {
    return this.#samples.length ? Math.min(...this.#samples) / 2 : undefined;
  }

  /** Set the `transit` of something that is on its way now, as soon as there is a guess. */
  guess(way) {
    way.transit = this.oneWay;
    if (way.transit !== undefined) return way;
    this.#unknown = [...this.#unknown, { way, since: performance.now() }].slice(-MOST);
    return way;
  }

  /** A whole round trip was measured. */
  add(milliseconds) {
    this.#samples = [...this.#samples, milliseconds].slice(-KEPT);
    for (const { way, since } of this.#unknown) {
      if (performance.now() - since < RECENT) way.transit ??= this.oneWay;
    }
    this.#unknown = [];
  }

  /**
   * An exchange is over: `{target, began, ended, answered, done, fresh}`, when its request had begun
   * and ended to arrive and its answer had begun and ended to leave; `fresh` if it was the first of its
   * connection.  Its `transit` is set when the browser has told.
   */
  exchanged(exchange) {
    const timing = take(this.#timings, exchange.target);
    if (timing) this.#match(exchange, timing);
    else put(this.#waiting, exchange.target, exchange);
  }

  /** The browser has told of a request: a PerformanceResourceTiming. */
  timed(timing) {
    const { pathname, search } = new URL(timing.name);
    const exchange = take(this.#waiting, pathname + search);
    if (exchange) this.#match(exchange, timing);
    else put(this.#timings, pathname + search, timing);
  }

  #match(exchange, timing) {
    const roundTrip = measure(exchange, timing);
    if (roundTrip === undefined || roundTrip < -INEXACT) return;
    this.add(Math.max(0, roundTrip));
    exchange.transit = Math.max(0, roundTrip) / 2;
  }
}

// Of another port the browser tells only the begin and the end.  There the first request of a
// connection is of no use: the handshake of TCP, another round trip, is in it.
function measure({ began, ended, answered, done, fresh }, timing) {
  const { startTime, requestStart, responseStart, responseEnd } = timing;
  if (requestStart > 0) return responseStart - requestStart - (answered - ended);
  return fresh ? undefined : responseEnd - startTime - (done - began);
}

// Of what is asked again and again under one address only the latest can be meant; and what was told
// long ago was told of a request that broke off, whose other half never came.
const PATIENCE = 3_000;

function put(map, key, value) {
  map.delete(key);
  map.set(key, { value, since: performance.now() });
  if (map.size > MOST) map.delete(map.keys().next().value);
}

function take(map, key) {
  const { value, since } = map.get(key) ?? {};
  map.delete(key);
  return performance.now() - since < PATIENCE ? value : undefined;
}
