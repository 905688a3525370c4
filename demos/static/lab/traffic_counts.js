// What the server counted for one transport, since the figures were cleared.

export class TrafficCounts {
  #row = {};
  #before = {};

  /** Take the counts of this client, as `/wire` reports them; undefined before the first request. */
  set(row = {}) {
    // A server that restarted counts from zero.
    if ((row.requests ?? 0) < (this.#row.requests ?? 0)) this.#before = {};
    this.#row = row;
  }

  clear() {
    this.#before = this.#row;
  }

  since(name) {
    return (this.#row[name] ?? 0) - (this.#before[name] ?? 0);
  }

  get open() {
    return this.#row.open ?? 0;
  }
}
