// Pause, step and replay.  While the player is paused the capture goes on, but the views do not receive it:
// records wait here.  The views show what had happened at `time` by the server's clock.
// Pure: it knows no page.

const MAX_WAITING = 5_000; // records
// ms between two steps of a replay: idle time is shortened, a burst is stretched.
const MIN_STEP = 250;
const MAX_STEP = 1_200;

export class Player {
  #feed;
  #entries;
  #onChange;
  #waiting = [];
  #lost = 0; // bytes of records that were too many to wait
  #timer;
  state = "live"; // live, paused or replaying
  time = Infinity;

  /** `feed(record)` adds a record to the views; `entries()` are the arrows that they have drawn. */
  constructor({ feed, entries, onChange }) {
    this.#feed = feed;
    this.#entries = entries;
    this.#onChange = onChange;
  }

  /** The entry at `time`: the last one that is shown. */
  get entry() {
    return this.#entries().filter(({ at }) => at <= this.time).at(-1);
  }

  feed(record) {
    if (this.state === "live") return void this.#feed(record);
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push(record);
    else this.#lost += record.bytes?.length ?? record.dropped ?? 0;
  }

  pause() {
    if (this.state === "live") this.time = this.#moments().at(-1) ?? -Infinity;
    this.#change("paused");
  }

  /** Show everything that has waited, and go on live. */
  resume() {
    while (this.#waiting.length) this.#feed(this.#waiting.shift());
    if (this.#lost) this.#feed({ dropped: this.#lost });
    this.#lost = 0;
    this.time = Infinity;
    this.#change("live");
  }

  /** Show one arrow more, and pause.  Returns whether there was one. */
  forward() {
    if (this.state === "live") this.pause();
    const moved = this.#forward();
    this.#change("paused");
    return moved;
  }

  /** Show one arrow less, and pause. */
  back() {
    if (this.state === "live") this.pause();
    this.time = this.#moments().findLast((at) => at < this.time) ?? this.time;
    this.#change("paused");
  }

  /** Show from the first arrow on what was captured, then go on live. */
  replay() {
    const [first] = this.#moments();
    if (first === undefined) return;
    this.time = first;
    this.#change("replaying");
    this.#schedule();
  }

  clear() {
    this.#waiting = [];
    this.#lost = 0;
    if (this.state !== "live") this.resume();
  }

  #schedule() {
    const next = this.#moments().find((at) => at > this.time);
    const wait = next === undefined ? MIN_STEP : Math.min(Math.max(next - this.time, MIN_STEP), MAX_STEP);
    this.#timer = setTimeout(() => {
      if (!this.#forward()) return this.resume();
      this.#onChange(this);
      this.#schedule();
    }, wait);
  }

  #forward() {
    let next;
    while ((next = this.#moments().find((at) => at > this.time)) === undefined) {
      if (!this.#waiting.length) return false;
      this.#feed(this.#waiting.shift());
    }
    this.time = next;
    return true;
  }

  #moments() {
    return this.#entries().map(({ at }) => at).sort((a, b) => a - b);
  }

  #change(state) {
    clearTimeout(this.#timer);
    this.state = state;
    this.#onChange(this);
  }
}

/** A trace as it was at a time: later entries are absent, and what has ended later is still open. */
export function asOf(trace, time) {
  if (time === Infinity) return trace;
  const open = (one) => (one.to > time ? { ...one, to: undefined } : one);
  return {
    entries: trace.entries.filter(({ at }) => at <= time),
    bars: trace.bars.filter(({ from }) => from <= time).map(open),
    outages: trace.outages.filter(({ from }) => from <= time).map(open),
    lanes: trace.lanes,
    startedAt: trace.startedAt,
  };
}
