// Messages that wait for their acknowledgement, where only the id pairs a response with its request.

import { ApiError, networkError } from "./api.js";

const TIMEOUT = 10_000; // ms

export class PendingAcks {
  #pending = new Map(); // id: {resolve, reject, timer}
  #timeout;

  constructor(timeout = TIMEOUT) {
    this.#timeout = timeout;
  }

  /** Call `send()`; resolves with the ack of `id`, rejects with its error or after a timeout. */
  wait(id, send) {
    return new Promise((resolve, reject) => {
      const timeout = networkError("no_answer");
      const timer = setTimeout(() => this.#settle(id, "reject", timeout), this.#timeout);
      this.#pending.set(id, { resolve, reject, timer });
      send();
    });
  }

  /** Handle a frame if it is an ack or an error; return whether it was one. */
  receive(frame) {
    if (frame.kind === "ack") this.#settle(frame.id, "resolve", frame);
    else if (frame.kind === "error") this.#settle(frame.id, "reject", errorOf(frame));
    else return false;
    return true;
  }

  /** The connection is closed.  A message without an ack may have arrived; its id makes a retry safe. */
  rejectAll(error = networkError("broken_connection")) {
    for (const id of [...this.#pending.keys()]) this.#settle(id, "reject", error);
  }

  #settle(id, outcome, value) {
    const entry = this.#pending.get(id);
    clearTimeout(entry?.timer);
    this.#pending.delete(id);
    entry?.[outcome](value);
  }
}

/** There is no open connection to send on. */
export function notConnected() {
  return networkError("no_connection");
}

function errorOf({ code, message, retry_after: retryAfter }) {
  return new ApiError(code, message, { retryAfter });
}
