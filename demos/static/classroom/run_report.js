// What this phone received during a run, and how late: sent to the projector as a message.

import { publish, uuid } from "../publish.js";
import { EXPERIMENTS, isOfRun } from "./lesson.js";
import { median } from "./measure.js";

const INTERVAL = 2000; // ms between two reports, and none if nothing has arrived

export class RunReport {
  #room;
  #client;
  #run;
  #now;
  #delays = [];
  #gaps = 0;
  #reported = 0; // messages and gaps
  #timer = setInterval(() => this.#send(), INTERVAL);

  /** `now()` is the server's clock. */
  constructor(room, { client, run, now }) {
    this.#room = room;
    this.#client = client;
    this.#run = run;
    this.#now = now;
  }

  get run() {
    return this.#run.id;
  }

  /** Count a message that was shown, if it belongs to this run. */
  count({ id, published }) {
    const { messages } = EXPERIMENTS[this.#run.kind] ?? {};
    if (messages && !isOfRun(id, this.#run.id)) return;
    this.#delays.push(Math.max(0, this.#now() - published));
  }

  /** The room has dropped what this phone had not received yet. */
  countGap() {
    this.#gaps += 1;
  }

  stop() {
    clearInterval(this.#timer);
  }

  async #send() {
    const received = this.#delays.length;
    const gaps = this.#gaps;
    if (received + gaps === this.#reported) return;
    this.#reported = received + gaps;
    const text = JSON.stringify({ run: this.run, received, delay: median(this.#delays), gaps });
    const message = { id: uuid(), client: this.#client, text, via: "class" };
    await publish(this.#room, message).catch(() => { this.#reported = 0; }); // again in a moment
  }
}
