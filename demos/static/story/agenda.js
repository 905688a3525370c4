// What happens at which moment of the slow motion: a dot leaves, a dot lands.  One list in the order of time,
// because two timers of a busy page may fire in the wrong order, and a message would leave the server before
// it has landed there.

export class Agenda {
  #actions = []; // {at, flight, run}, in the order of time
  #clock;
  #timer;
  #pausedAt;

  constructor(clock = () => performance.now()) {
    this.#clock = clock;
  }

  /** Call `run()` at a moment of the clock, for this flight. */
  add(at, flight, run) {
    const index = this.#actions.findLastIndex((action) => action.at <= at) + 1;
    this.#actions.splice(index, 0, { at, flight, run });
    this.#arm();
  }

  /** Run now what belongs to flights that have not started. */
  catchUp() {
    const now = this.#clock();
    for (const action of this.#actions) {
      if (action.flight.start > now) action.at = now;
    }
    this.#actions.sort((one, other) => one.at - other.at); // stable
    this.run();
  }

  pause() {
    this.#pausedAt = this.#clock();
    clearTimeout(this.#timer);
  }

  /** Continue: what is left happens later by the length of the pause, which this returns. */
  resume() {
    const length = this.#clock() - this.#pausedAt;
    this.#pausedAt = undefined;
    for (const action of this.#actions) action.at += length;
    this.#arm();
    return length;
  }

  clear() {
    this.#actions = [];
    clearTimeout(this.#timer);
  }

  /** Run everything that is due. */
  run() {
    while (this.#actions.length && this.#actions[0].at <= this.#clock()) this.#actions.shift().run();
    this.#arm();
  }

  #arm() {
    clearTimeout(this.#timer);
    if (!this.#actions.length || this.#pausedAt !== undefined) return;
    this.#timer = setTimeout(() => this.run(), this.#actions[0].at - this.#clock());
  }
}
