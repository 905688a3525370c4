// One reader of the audit: its connection, what it received, and how long it waited for a message.

import { Audit } from "../lab/audit.js";

// Short polling asks twice a second; the iframe needs no padding.
const SETTINGS = { interval: 0.5 };
const FAULTS = ["missing", "duplicated", "reordered"];

export class AuditedReader {
  #audit;
  #before = { received: 0, missing: 0, duplicated: 0, reordered: 0 }; // up to the last gap
  #latest = 0; // when the last event came, or the last fault was injected
  #longest = 0;
  #connection;
  state = "connecting";
  gaps = 0;

  constructor(transport, checker) {
    this.transport = transport;
    this.#audit = new Audit(checker);
  }

  /** Connect; `onEvent(event)` receives every event, gaps too. */
  start(connect, { room, client, base, after, now, onEvent }) {
    this.restart(now());
    this.#connection = connect(room, {
      after, base, client,
      setting: (id) => SETTINGS[id] ?? 0,
      onEvent: (event) => {
        this.#wait(now());
        this.#show(event);
        onEvent(event);
      },
      onRepeat: () => this.#audit.repeat(),
      onState: (state) => { this.state = state; },
    });
  }

  stop() {
    this.#connection?.close();
  }

  /** Measure the longest wait from now on. */
  restart(now) {
    this.#latest = now;
    this.#longest = 0;
  }

  /** The longest time without an event since `restart`, up to now. */
  longestWait(now) {
    return Math.max(this.#longest, now - this.#latest);
  }

  /** Seconds without an event up to now. */
  silence(now) {
    return now - this.#latest;
  }

  get figures() {
    return {
      received: this.#before.received + this.#audit.received,
      ...Object.fromEntries(FAULTS.map((name) => [name, this.#before[name] + this.#audit[name]])),
    };
  }

  #wait(now) {
    this.#longest = this.longestWait(now);
    this.#latest = now;
  }

  // After a gap the audit starts from zero; what it found before still counts.
  #show(event) {
    if (event.kind !== "gap") return this.#audit.show(event);
    this.#before = this.figures;
    this.gaps += 1;
    this.#audit.gap();
  }
}
