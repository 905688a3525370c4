// An open-loop load generator: the n-th message has its scheduled time, and its delay counts from there,
// however late it leaves.  A closed loop, which waits for each response before it sends the next message,
// hides every stall ("coordinated omission").
//
// A schedule has its own WebSocket, which is no member of the room and belongs to no row.  A POST costs the
// browser several times the CPU of a frame, and 200 of them per second wait for the six connections of the page.

import { publish, uuid } from "../publish.js";
import { connect } from "../transports/websocket.js";

const MAX_SCHEDULED = 5_000;
// ms for an acknowledgement.  A message that waits in the queue of a slow server is late, not refused; a broken
// connection is noticed much earlier (watchdog.js).
const ACK_TIMEOUT = 300_000;

export class OpenLoopSender {
  #room;
  #user;
  #onAcknowledged;
  #scheduled = new Map(); // id: the time at which it should be sent, by performance.now()
  #timer;
  #socket; // while a schedule runs
  #inFlight = 0;
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
    this.#socket ??= connect(this.#room, {
      after: "now",
      ackTimeout: ACK_TIMEOUT,
      onEvent() {},
      onState() {},
    });
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
    this.#closeIfDone();
  }

  #closeIfDone() {
    if (this.remaining || this.#inFlight) return;
    this.#socket?.close();
    this.#socket = undefined;
  }

  /** Send one message that is due at `scheduledAt`; resolves with whether the server accepted it. */
  async send(text, scheduledAt = performance.now()) {
    const id = uuid();
    this.#scheduled.set(id, scheduledAt);
    if (this.#scheduled.size > MAX_SCHEDULED) this.#scheduled.delete(this.#scheduled.keys().next().value);
    const sent = performance.timeOrigin + scheduledAt;
    this.#inFlight += 1;
    try {
      await this.#publish({ id, ...this.#user, text, sent });
      this.sent += 1;
      this.#onAcknowledged(id);
      return true;
    } catch (error) {
      this.refused += 1;
      this.error = error;
      return false;
    } finally {
      this.#inFlight -= 1;
      this.#closeIfDone();
    }
  }

  // By POST while the socket is not open, and again if it broke: the same id publishes a message once.  A server
  // that is late would be later with a second copy.
  async #publish(message) {
    const socket = this.#socket;
    if (socket?.isOpen()) {
      try {
        return await socket.send(message);
      } catch (error) {
        if (socket.isOpen()) throw error;
      }
    }
    return publish(this.#room, message);
  }

  /** When our message `id` was due; undefined for messages of others. */
  scheduledAt(id) {
    return this.#scheduled.get(id);
  }
}

function filled(n, size) {
  return `${n} `.padEnd(size, "·–");
}
