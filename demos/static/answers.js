// Messages that wait for their answers, on a connection where nothing else says which belongs to which.

import { refused, Trouble } from "./ask.js";
import { t } from "./words.js";

const PATIENCE = 10_000;

export class Answers {
  #waiting = new Map(); // id: the message's {resolve, reject, timer}

  /** Send by `say()`; resolves with the ack of `id`, rejects with its error, or when none comes. */
  wait(id, say) {
    return new Promise((resolve, reject) => {
      const late = new Trouble("network", t("trouble.no_answer"));
      const timer = setTimeout(() => this.#settle(id, "reject", late), PATIENCE);
      this.#waiting.set(id, { resolve, reject, timer });
      say();
    });
  }

  /** Take what came, if it answers something. */
  hear(said) {
    if (said.kind === "ack") this.#settle(said.id, "resolve", said);
    else if (said.kind === "error") this.#settle(said.id, "reject", complaint(said));
    else return false;
    return true;
  }

  // Whether a frame without an answer arrived is unknown; its id makes it safe to send again.
  lost(trouble = new Trouble("network", t("trouble.broken_connection"))) {
    for (const id of [...this.#waiting.keys()]) this.#settle(id, "reject", trouble);
  }

  #settle(id, how, value) {
    const one = this.#waiting.get(id);
    clearTimeout(one?.timer);
    this.#waiting.delete(id);
    one?.[how](value);
  }
}

/** No connection is open that could be spoken by. */
export function unconnected() {
  return new Trouble("network", t("trouble.no_connection"));
}

function complaint({ code, message, retry_after: retryAfter }) {
  return refused(code, message, { retryAfter });
}
