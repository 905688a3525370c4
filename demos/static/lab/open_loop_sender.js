// An open-loop load generator: the n-th message has its scheduled time, and its delay counts from there,
// however late it leaves.  A closed loop, which waits for each response before it sends the next message,
// hides every stall ("coordinated omission").

import { publish, uuid } from "../publish.js";

const MAX_SCHEDULED = 5_000;

export class OpenLoopSender {
  #room;
  #user;
  #onAcknowledged;
  #scheduled = new Map(); // id: the time at which it should be sent, by performance.now()
  #timer;
  sent = 0;
  refused = 0;
  error; // the last one
  remaining = 0;

  /** Calls `onAcknowledged(id)` for each message that the server has accepted. */
  constructor(room, user, onAcknowledged) {
    this.#room = room;
    this.#user = user;
    this.#onAcknowledged = onAcknowledged;
  }

  /** Send `count` messages of `size` characters, `rate` of them each second. */
  start({ count, rate, size }) {
    this.stop();
    this.refused = 0;
    this.error = undefined;
    this.remaining = count;
    const start = performance.now();
    const interval = 1000 / rate;
    let n = 0;
    const sendDue = () => {
      // The timers of a background tab fire once a second: then all messages that are due are sent.
      while (this.remaining && start + n * interval <= performance.now()) {
        this.remaining -= 1;
        this.send(filled(++n, size), start + (n - 1) * interval);
      }
      if (this.remaining) this.#timer = setTimeout(sendDue, start + n * interval - performance.now());
    };
    sendDue();
  }

  stop() {
    clearTimeout(this.#timer);
    this.remaining = 0;
  }

  /** Send one message that is due at `scheduledAt`; resolves with whether the server accepted it. */
  async send(text, scheduledAt = performance.now()) {
    const id = uuid();
    this.#scheduled.set(id, scheduledAt);
    if (this.#scheduled.size > MAX_SCHEDULED) this.#scheduled.delete(this.#scheduled.keys().next().value);
    const sent = performance.timeOrigin + scheduledAt;
    try {
      await publish(this.#room, { id, ...this.#user, text, via: "post", sent });
      this.sent += 1;
      this.#onAcknowledged(id);
      return true;
    } catch (error) {
      this.refused += 1;
      this.error = error;
      return false;
    }
  }

  /** When our message `id` was due; undefined for messages of others. */
  scheduledAt(id) {
    return this.#scheduled.get(id);
  }
}

function filled(n, size) {
  return `${n} `.padEnd(size, "·–");
}
