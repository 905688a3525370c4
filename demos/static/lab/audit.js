// Did everybody hear everything, once and in order?  Judged by ids alone: a cursor is opaque.
//
// The first pane that shows an event decides its rank; every other must show it in that order.  A
// pane has missed what it has passed by; what lies behind the last it has shown is on its way.

// Ids to remember: no transport is so far behind the others.
const KNOWN = 20_000;

/** All events that any pane has shown, in the order of the first to show them. */
export class Ledger {
  #ranks = new Map();
  #acknowledged = new Set(); // said, and shown by nobody yet
  next = 0; // the rank that comes next
  cursor; // of the event with the highest rank

  /** The rank of an event, a new one if nobody has shown it. */
  rank(event) {
    let rank = this.#ranks.get(event.id);
    if (rank === undefined) {
      rank = this.next++;
      this.cursor = event.cursor;
      this.#ranks.set(event.id, rank);
      this.#acknowledged.delete(event.id);
      if (this.#ranks.size > KNOWN) this.#ranks.delete(this.#ranks.keys().next().value);
    }
    return rank;
  }

  /** The server has acknowledged it: somebody must show it. */
  acknowledge(id) {
    if (!this.#ranks.has(id)) this.#acknowledged.add(id);
  }

  get unshown() {
    return this.#acknowledged.size;
  }

  /** The room has begun anew: what was on its way is gone. */
  forget() {
    this.#acknowledged.clear();
  }
}

/** One pane's account, from the moment it was switched on. */
export class Audit {
  #ledger;
  #start; // what has a lower rank is not owed to this pane
  #top;
  received = 0;
  doubled = 0;
  misplaced = 0;
  gaps = 0;

  constructor(ledger) {
    this.#ledger = ledger;
    this.begin();
  }

  /** What has been shown by others until now is not owed. */
  begin() {
    this.#start = this.#ledger.next;
    this.#top = this.#start - 1;
    this.received = this.doubled = this.misplaced = 0;
  }

  show(event) {
    const rank = this.#ledger.rank(event);
    if (rank < this.#start) return;
    this.received += 1;
    if (rank < this.#top) this.misplaced += 1;
    this.#top = Math.max(this.#top, rank);
  }

  repeat() {
    this.doubled += 1;
  }

  /** The room does not go on where this pane was; it has been told so. */
  gap() {
    this.begin();
    this.gaps += 1;
  }

  get missing() {
    return this.#top - this.#start + 1 - this.received;
  }

  get onTheWay() {
    return this.#ledger.next - 1 - this.#top + this.#ledger.unshown;
  }
}
