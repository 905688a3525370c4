// Did every pane show every event, once and in order?  Events are compared by their ids alone, because a
// cursor is opaque.
//
// The first pane that shows an event gives it the next rank; every other pane must show events in the order
// of their ranks.  A pane has missed what it has skipped; what comes after its latest event is in flight.

// Ids to remember: no transport is that far behind the others.
const MAX_IDS = 20_000;

/** The order of all events, as the first pane to show each of them defines it. */
export class ConsistencyChecker {
  #ranks = new Map();
  #acknowledged = new Set(); // ids that no pane has shown yet
  nextRank = 0;
  cursor; // of the event with the highest rank

  /** The rank of an event: a new one if no pane has shown it. */
  rank(event) {
    let rank = this.#ranks.get(event.id);
    if (rank === undefined) {
      rank = this.nextRank++;
      this.cursor = event.cursor;
      this.#ranks.set(event.id, rank);
      this.#acknowledged.delete(event.id);
      if (this.#ranks.size > MAX_IDS) this.#ranks.delete(this.#ranks.keys().next().value);
    }
    return rank;
  }

  /** The server has acknowledged a message: every pane must show it. */
  acknowledge(id) {
    if (!this.#ranks.has(id)) this.#acknowledged.add(id);
  }

  get unshown() {
    return this.#acknowledged.size;
  }

  /** The room was reset: messages in flight are lost, and the reader knows it from the gap event. */
  reset() {
    this.#acknowledged.clear();
  }
}

/** The figures of one pane, since it was switched on or cleared. */
export class Audit {
  #checker;
  #start; // this pane need not show a lower rank
  #highest;
  #afterGap = false; // it received a gap, and has shown nothing since
  #progress = { received: 0, at: 0 };
  received = 0;
  duplicated = 0;
  reordered = 0;
  gaps = 0;

  constructor(checker) {
    this.#checker = checker;
    this.restart();
  }

  /** Do not expect what the other panes have shown so far. */
  restart() {
    this.#restartAt(this.#checker.nextRank);
    this.#afterGap = false;
    this.gaps = 0;
  }

  #restartAt(rank) {
    this.#start = rank;
    this.#highest = rank - 1;
    this.received = this.duplicated = this.reordered = 0;
  }

  show(event) {
    const rank = this.#checker.rank(event);
    // After a gap other panes may be ahead: count from the first event that this pane shows.
    if (this.#afterGap) this.#restartAt(rank);
    this.#afterGap = false;
    if (rank < this.#start) return;
    this.received += 1;
    if (rank < this.#highest) this.reordered += 1;
    this.#highest = Math.max(this.#highest, rank);
  }

  repeat() {
    this.duplicated += 1;
  }

  /** The server has reported that the room does not continue at this pane's cursor. */
  gap() {
    const gaps = this.gaps + 1;
    this.restart();
    this.#afterGap = true;
    this.gaps = gaps;
  }

  get missing() {
    return this.#highest - this.#start + 1 - this.received;
  }

  get inFlight() {
    return this.#checker.nextRank - 1 - this.#highest + this.#checker.unshown;
  }

  /** For how long events have been in flight while this pane received none, in the unit of `now`. */
  lateBy(now) {
    if (!this.inFlight || this.received !== this.#progress.received) {
      this.#progress = { received: this.received, at: now };
    }
    return now - this.#progress.at;
  }
}
