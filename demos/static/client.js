// A client for a room, by any transport: it reconnects, resumes by its cursor, shows no event twice, and sends a
// message until it is acknowledged.  Manual: docs/clients.md.  Types: client_types.js.

/** @import { Message, Options, Receipt } from "./client_types.js" */

import { ApiError, networkError, requestJSON, roomUrl } from "./api.js";
import { newClient, secretOf, uuid } from "./identity.js";
import { Outbox } from "./outbox.js";

const TIMEOUT = 10_000;
const ignore = () => {};

/** @param {string} room @param {Options} [options] */
export function connect(room, options) {
  const connection = new Connection(room, options);
  connection.reconnect();
  return connection;
}

/** A connection that is not open yet: `reconnect` opens it. */
export class Connection {
  #room;
  #options;
  /** @type {string | undefined} */
  #cursor;
  #shown = new Set();
  #attempt; // the last call of `reconnect`
  #current; // of the transport
  #receipts = new Map(); // id: {resolve, reject}
  #outbox = new Outbox((message) => {
    if (!this.#current) throw networkError("no_connection");
    return this.#current.send(message);
  }, (...change) => this.#onSent(...change));
  #closed = new AbortController();

  /** @param {string} room @param {Options} [options] */
  constructor(room, options = {}) {
    this.#room = room;
    this.#options = {
      transport: "websocket", interval: 2, pad: 0, setting: (name) => this.#options[name],
      onEvent: ignore, onState: ignore, onSent: ignore, ...options,
    };
    /** Your id; undefined if you only listen. */
    this.client = options.client ?? (options.name ? newClient(options.secret) : undefined);
    addEventListener("pagehide", () => this.#onHide(), { signal: this.#closed.signal });
  }

  /** The position of the last event. */
  get cursor() { return this.#cursor; }

  /** Proves that your id is yours. */
  get secret() { return secretOf(this.client); }

  /** The messages that are not acknowledged yet. @returns {Message[]} */
  get unsent() { return this.#outbox.messages; }

  /**
   * Send a text until it is acknowledged.  Rejects with an `ApiError` if the server refuses it.
   * @param {string} text @param {Partial<Message>} [fields] of the message @returns {Promise<Receipt>}
   */
  send(text, fields) {
    const { client } = this;
    const { name, transport: via } = this.#options;
    return this.resend({ id: uuid(), client, name, text, via, sent: Date.now(), ...fields });
  }

  /** Send a message, such as one of `unsent`. @param {Message} message @returns {Promise<Receipt>} */
  resend(message) {
    if (this.#closed.signal.aborted) return Promise.reject(networkError("no_connection"));
    const receipt = new Promise((resolve, reject) => { this.#receipts.set(message.id, { resolve, reject }); });
    receipt.catch(ignore); // who does not wait for it has `onSent`
    this.#outbox.add(message);
    return receipt;
  }

  /**
   * Continue at the same cursor over a new connection, or go to another room.
   * @param {Options & { room?: string }} [changes]
   */
  reconnect({ room = this.#room, ...changes } = {}) {
    this.disconnect();
    if (room !== this.#room) {
      this.#room = room;
      this.#cursor = this.#options.after = undefined;
      this.#shown = new Set();
    }
    Object.assign(this.#options, changes);
    this.#open();
  }

  /** Receive nothing until `reconnect`; what you send waits. */
  disconnect() {
    this.#attempt = undefined;
    this.#current?.close();
    this.#current = undefined;
  }

  /** Leave the room for good. */
  close() {
    this.disconnect();
    this.#leave();
    this.#closed.abort();
    for (const { id } of this.unsent) this.#outbox.settle(id);
    for (const { reject } of this.#receipts.values()) reject(networkError("no_connection"));
  }

  async #open() {
    const attempt = this.#attempt = {};
    const { transport, after, locate = true, ...options } = this.#options;
    const module = await import(`./transports/${transport}.js`).catch(ignore);
    if (attempt !== this.#attempt) return; // there is a newer call
    if (!module) {
      const error = new ApiError("no_transport", `The module of ${transport} could not be loaded.`);
      return this.#onState("refused", { error });
    }
    this.#current = module.connect(this.#room, {
      ...options,
      client: this.client,
      after: this.#cursor ?? (after === "now" ? undefined : after),
      shown: this.#shown,
      locate: locate && ((position) => this.#locate(position)),
      onEvent: (event) => this.#onEvent(event),
      // After a gap it has a new position.
      onRepeat: ({ cursor }) => { this.#cursor = cursor; },
      onState: (state, detail) => this.#onState(state, detail),
    });
  }

  // A stream that has delivered nothing has no cursor.  When it breaks, "now" would be a later moment.
  async #locate({ receive, at }) {
    const attempt = this.#attempt;
    const { after, base } = this.#options;
    const url = roomUrl(this.#room, "short_polling", { after }, base);
    const { events, cursor } = await requestJSON(url, { signal: AbortSignal.timeout(TIMEOUT) });
    if (attempt !== this.#attempt) return;
    events.forEach(receive);
    at(cursor);
    this.#cursor = cursor;
  }

  #onEvent(event) {
    this.#cursor = event.cursor;
    // Our own message has arrived: as good as an acknowledgement.
    this.#outbox.settle(event.id);
    this.#settle(event, "resolve", event);
    this.#options.onEvent(event);
  }

  #onState(state, detail) {
    if (state === "open") this.#outbox.wake();
    this.#options.onState(state, detail);
  }

  #onSent(message, state, error, receipt) {
    if (state === "accepted") this.#settle(message, "resolve", receipt);
    if (state === "refused") this.#settle(message, "reject", error);
    this.#options.onSent(message, state, error);
  }

  #settle({ id }, outcome, value) {
    const { cursor } = value;
    this.#receipts.get(id)?.[outcome](outcome === "resolve" ? { id, cursor } : value);
    this.#receipts.delete(id);
  }

  // The server announces it after a grace period: nobody sees a reload, which returns as the same client.
  #onHide() {
    if (!this.#attempt) return;
    this.disconnect();
    this.#leave();
    const show = ({ persisted }) => { if (persisted) this.reconnect(); };
    addEventListener("pageshow", show, { signal: this.#closed.signal, once: true });
  }

  #leave() {
    if (!this.client || !this.#options.name) return;
    const url = roomUrl(this.#room, `members/${this.client}`, { secret: this.secret });
    fetch(url, { method: "DELETE", keepalive: true }).catch(ignore);
  }
}
