// What was said and is not yet acknowledged: kept in order, and sent again with the same id.
// One message is under way at a time, or a repeated one would come after those that followed it.

import { Trouble } from "./ask.js";
import { t } from "./words.js";

const LONGEST = 10;

export class Outbox {
  #queue = [];
  #send;
  #onChange;
  #pumping = false;
  #failures = 0;
  #wake = () => {};

  /** `onChange(message, state, trouble)`: state is pending, accepted or refused. */
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
    this.#pump();
  }

  /** The network is back: do not wait any longer, unless the server asked for it. */
  wake() {
    this.#wake();
  }

  /** It was read back from the room, which is as good as an answer. */
  settle(id) {
    this.#queue = this.#queue.filter((message) => message.id !== id);
  }

  async #pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#queue.length) await this.#try(this.#queue[0]);
    this.#pumping = false;
  }

  async #try(message) {
    try {
      await this.#send(message);
      this.#failures = 0;
      this.#finish(message, "accepted");
    } catch (error) {
      const trouble = error instanceof Trouble ? error : mishap(error);
      if (trouble.final) this.#finish(message, "refused", trouble);
      else await this.#retryLater(message, trouble);
    }
  }

  #finish(message, state, trouble) {
    const waiting = this.#queue.includes(message);
    this.settle(message.id);
    if (waiting) this.#onChange(message, state, trouble);
  }

  async #retryLater(message, trouble) {
    if (!this.#queue.includes(message)) return;
    this.#onChange(message, "pending", trouble);
    const jitter = Math.random() * Math.min(LONGEST, 2 ** this.#failures++);
    const seconds = trouble.retryAfter || jitter;
    await new Promise((resolve) => {
      setTimeout(resolve, seconds * 1000);
      if (!trouble.retryAfter) this.#wake = resolve;
    });
  }
}

// A mistake of our own: to be seen, not to be repeated for ever.
function mishap(error) {
  return new Trouble("error", t("trouble.in_page", { error }));
}
