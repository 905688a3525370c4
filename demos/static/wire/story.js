// What the sequence diagram tells, bounded: the things that happened (arrows), the time in which a
// connection was in use (bars on the server's line), the time in which the page could not be told
// anything (gaps on the browser's line), and counts of all that ever was.

import { Folding } from "./folding.js";

const MOST = 150; // things that are kept
const FREE_AFTER = 30_000; // ms: a connection at rest gives its lane away

export class Story {
  things = []; // {sort, direction, at, connection, lane, bytes, …}: see witness.js
  bars = []; // {connection, lane, sort: "held" | "stream", from, to}
  gaps = []; // {sort: "blind" | "cut", from, to}
  totals = noTotals();
  zero; // the moment at which times begin
  #folding = new Folding();
  #numbers = new Map(); // the server's number of a connection: ours, from 1
  #lanes = []; // {connection, busy, rested} of each lane

  /** Forget what happened; what goes on now goes on. */
  clear() {
    const open = ({ to }) => to === undefined;
    Object.assign(this, { things: [], bars: this.bars.filter(open), gaps: this.gaps.filter(open) });
    this.totals = noTotals();
    this.zero = undefined;
    this.#folding = new Folding();
  }

  get lanes() {
    return this.#lanes.length;
  }

  add(thing) {
    this.zero ??= thing.at;
    this.#folding.add(this.things, thing);
    if (this.things.length > MOST) this.#forget();
  }

  // Bars and gaps that ended before the first thing cannot be seen any more.
  #forget() {
    this.things.splice(0, this.things.length - MOST);
    const from = this.things[0].at;
    const seen = ({ to }) => to === undefined || to >= from;
    this.bars = this.bars.filter(seen).slice(-MOST);
    this.gaps = this.gaps.filter(seen).slice(-MOST);
  }

  /** Our number for a connection: the first that is seen is 1. */
  number(connection) {
    if (!this.#numbers.has(connection)) {
      this.totals.connections += 1;
      this.#numbers.set(connection, this.#numbers.size + 1);
    }
    return this.#numbers.get(connection);
  }

  /** The lane of a connection, by our number: its own, or the first that is free. */
  lane(connection, at) {
    const own = this.#lanes.findIndex((lane) => lane.connection === connection);
    if (own >= 0) return own;
    const free = this.#lanes.findIndex((lane) => !lane.busy && at - lane.rested > FREE_AFTER);
    const index = free >= 0 ? free : this.#lanes.length;
    this.#lanes[index] = { connection, busy: false, rested: at };
    return index;
  }

  beginBar(sort, connection, from) {
    const lane = this.lane(connection, from);
    const bar = { sort, connection, lane, from };
    this.#lanes[lane].busy = true;
    this.bars.push(bar);
    return bar;
  }

  endBar(bar, to, { closed = false } = {}) {
    bar.to = to;
    const lane = this.#lanes[bar.lane];
    if (lane?.connection !== bar.connection) return;
    lane.busy = false;
    lane.rested = closed ? -Infinity : to;
  }

  beginGap(sort, from) {
    this.gaps.push({ sort, from });
  }

  /** Whether there was one to end. */
  endGap(to) {
    const gap = this.gaps.at(-1);
    if (!gap || gap.to !== undefined) return false;
    if (to > gap.from) gap.to = to;
    else this.gaps.pop();
    return true;
  }
}

function noTotals() {
  return {
    requests: 0, polls: 0, empty: 0, posts: 0, events: 0, heartbeats: 0, connections: 0, up: 0, down: 0,
  };
}
