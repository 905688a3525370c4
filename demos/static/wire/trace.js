// The trace that the sequence diagram draws, bounded in size: entries (arrows), the times in which a
// connection was in use (bars on the server's line), the times in which no event could reach the page
// (outages on the browser's line), and counts since the start.

import { Aggregator } from "./aggregate.js";

const MAX_ENTRIES = 150; // of live traffic
const LANE_TIMEOUT = 30_000; // ms: after this idle time another connection may take the lane

export class Trace {
  entries = []; // {type, direction, at, connection, lane, bytes, …}: see trace_builder.js
  bars = []; // {connection, lane, type: "held" | "stream", from, to}
  outages = []; // {type: "blind" | "cut", from, to}
  totals = zeroTotals();
  startedAt; // the time of the first entry
  #aggregator = new Aggregator();
  #numbers = new Map(); // the server's number of a connection: ours, from 1
  #lanes = []; // {connection, busy, idleSince} of each lane
  #maxEntries;

  constructor(maxEntries = MAX_ENTRIES) {
    this.#maxEntries = maxEntries;
  }

  /** Remove everything except what is still open. */
  clear() {
    const open = ({ to }) => to === undefined;
    this.entries = [];
    this.bars = this.bars.filter(open);
    this.outages = this.outages.filter(open);
    this.totals = zeroTotals();
    this.startedAt = undefined;
    this.#aggregator = new Aggregator();
  }

  get lanes() {
    return this.#lanes.length;
  }

  add(entry) {
    this.startedAt ??= entry.at;
    this.#aggregator.add(this.entries, entry);
    if (this.entries.length > this.#maxEntries) this.#trim();
  }

  // Bars and outages that ended before the first entry are no longer visible.
  #trim() {
    this.entries.splice(0, this.entries.length - this.#maxEntries);
    const from = this.entries[0].at;
    const visible = ({ to }) => to === undefined || to >= from;
    this.bars = this.bars.filter(visible).slice(-this.#maxEntries);
    this.outages = this.outages.filter(visible).slice(-this.#maxEntries);
  }

  /** Our number for a connection: the first one is 1. */
  number(connection) {
    if (!this.#numbers.has(connection)) {
      this.totals.connections += 1;
      this.#numbers.set(connection, this.#numbers.size + 1);
    }
    return this.#numbers.get(connection);
  }

  /** The lane of a connection, by our number: its own, or the first free one. */
  lane(connection, at) {
    const own = this.#lanes.findIndex((lane) => lane.connection === connection);
    if (own >= 0) return own;
    const free = this.#lanes.findIndex((lane) => !lane.busy && at - lane.idleSince > LANE_TIMEOUT);
    const index = free >= 0 ? free : this.#lanes.length;
    this.#lanes[index] = { connection, busy: false, idleSince: at };
    return index;
  }

  startBar(type, connection, from) {
    const lane = this.lane(connection, from);
    const bar = { type, connection, lane, from };
    this.#lanes[lane].busy = true;
    this.bars.push(bar);
    return bar;
  }

  endBar(bar, to, { closed = false } = {}) {
    bar.to = to;
    const lane = this.#lanes[bar.lane];
    if (lane?.connection !== bar.connection) return;
    lane.busy = false;
    lane.idleSince = closed ? -Infinity : to;
  }

  startOutage(type, from) {
    this.outages.push({ type, from });
  }

  /** End the open outage, and return whether there was one. */
  endOutage(to) {
    const outage = this.outages.at(-1);
    if (!outage || outage.to !== undefined) return false;
    if (to > outage.from) outage.to = to;
    else this.outages.pop();
    return true;
  }
}

function zeroTotals() {
  return {
    requests: 0, polls: 0, empty: 0, posts: 0, events: 0, heartbeats: 0, connections: 0, up: 0, down: 0,
  };
}
