// Messages on a schedule: the n-th has its time, and is measured from it, however late it leaves.
// A load that waits for each answer before it says the next hides every stall ("coordinated omission").

import { post, uuid } from "../send.js";

export class Sender {
  #room;
  #who;
  #intended = new Map(); // id: when it was to be said, on the page's clock
  #timer;
  sent = 0;
  refused = 0;
  trouble; // the last
  left = 0;

  /** `onAcknowledged(id)` is told what the server has taken. */
  constructor(room, who, onAcknowledged) {
    this.#room = room;
    this.#who = who;
    this.onAcknowledged = onAcknowledged;
  }

  /** Say `count` messages of `size` characters, `rate` of them each second. */
  start({ count, rate, size }) {
    this.stop();
    this.refused = 0;
    this.trouble = undefined;
    this.left = count;
    const begin = performance.now();
    const pause = 1000 / rate;
    let n = 0;
    const turn = () => {
      // A tab in the background is woken once a second: then all that was due is said.
      while (this.left && begin + n * pause <= performance.now()) {
        this.left -= 1;
        this.say(filled(++n, size), begin + (n - 1) * pause);
      }
      if (this.left) this.#timer = setTimeout(turn, begin + n * pause - performance.now());
    };
    turn();
  }

  stop() {
    clearTimeout(this.#timer);
    this.left = 0;
  }

  /** Say one thing that was to be said at `intended`; the result tells whether it was taken. */
  async say(text, intended = performance.now()) {
    const id = uuid();
    this.#intended.set(id, intended);
    if (this.#intended.size > 5_000) this.#intended.delete(this.#intended.keys().next().value);
    const sent = performance.timeOrigin + intended;
    try {
      await post(this.#room, { id, ...this.#who, text, via: "post", sent });
      this.sent += 1;
      this.onAcknowledged(id);
      return true;
    } catch (trouble) {
      this.refused += 1;
      this.trouble = trouble;
      return false;
    }
  }

  /** When a message of ours was to be said; undefined for those of others. */
  intended(id) {
    return this.#intended.get(id);
  }
}

function filled(n, size) {
  return `${n} `.padEnd(size, "·–");
}
