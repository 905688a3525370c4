// Messages that are not acknowledged yet: sent again with the same id, one at a time, to keep their order.

import { ApiError } from "./api.js";

const MAX_WAIT = 10; // seconds

export class Outbox {
  #queue = [];
  #send;
  #onChange;
  #sending = false;
  #failures = 0;
  /** @type {(value?: unknown) => void} */
  #wake = () => {};

  /** `onChange(message, state, error, receipt)`: pending, accepted (what `send` returned is the receipt) or refused. */
  constructor(send, onChange) {
    this.#send = send;
    this.#onChange = onChange;
  }

  get messages() {
    return [...this.#queue];
  }

  add(message) {
    this.#queue.push(message);
    this.#onChange(message, "pending");
    this.#sendAll();
  }

  /** The network is back: retry now, unless the server asked us to wait. */
  wake() {
    this.#wake();
  }

  /** The room has delivered the message to us. */
  settle(id) {
    this.#queue = this.#queue.filter((message) => message.id !== id);
  }

  async #sendAll() {
    if (this.#sending) return;
    this.#sending = true;
    while (this.#queue.length) await this.#try(this.#queue[0]);
    this.#sending = false;
  }

  async #try(message) {
    try {
      const receipt = await this.#send(message);
      this.#failures = 0;
      this.#finish(message, "accepted", undefined, receipt);
    } catch (thrown) {
      const error = thrown instanceof ApiError ? thrown : pageError(thrown);
      if (error.final) this.#finish(message, "refused", error);
      else await this.#retryLater(message, error);
    }
  }

  #finish(message, state, error, receipt) {
    const queued = this.#queue.includes(message);
    this.settle(message.id);
    if (queued) this.#onChange(message, state, error, receipt);
  }

  async #retryLater(message, error) {
    if (!this.#queue.includes(message)) return;
    this.#onChange(message, "pending", error);
    const jitter = Math.random() * Math.min(MAX_WAIT, 2 ** this.#failures++);
    const seconds = error.retryAfter || jitter;
    await new Promise((resolve) => {
      setTimeout(resolve, seconds * 1000);
      if (!error.retryAfter) this.#wake = resolve;
    });
  }
}

// A bug in the page: show it, and do not retry forever.
function pageError(error) {
  return new ApiError("error", `${error}`, { reason: "in_page" });
}
