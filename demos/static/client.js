// A client for a room, by any transport: it reconnects, resumes by its cursor, shows no event twice, and sends a
// message until it is acknowledged.  Our own pages use it.  docs/clients.md is its manual.
//
//   import { connect } from "http://127.0.0.1:8000/demos/static/client.js";
//   const room = connect("lobby", { name: "Ada", onEvent: ({ kind, text }) => console.log(kind, text) });
//   const { cursor } = await room.send("hello");

import { ApiError, networkError, requestJSON, roomUrl } from "./api.js";
import { newClient, secretOf } from "./identity.js";
import { Outbox } from "./outbox.js";
import { uuid } from "./publish.js";

export { ApiError };

/**
 * @typedef {object} RoomEvent
 * @property {"say" | "join" | "quit" | "gap"} kind a gap: the history between your cursor and the next event is lost
 * @property {string} cursor its position in the room
 * @property {string} [id] of all but a gap
 * @property {string | null} [client] the id of who sent it
 * @property {string | null} [name]
 * @property {string} [text] of a message
 * @property {string | null} [via] the transport by which it was sent
 * @property {number | null} [sent] the sender's clock, in ms
 * @property {number} [published] the server's clock, in ms
 * @property {"trimmed" | "rewound" | "unknown"} [reason] of a gap
 * @property {number | null} [missed] how many events a gap has lost, if that is known
 *
 * @typedef {"connecting" | "open" | "waiting" | "refused"} State refused: no more attempts
 * @typedef {{ seconds?: number, error?: ApiError }} StateDetail of waiting and refused
 * @typedef {{ id: string, text: string, client?: string, name?: string, via?: string, sent?: number }} Message
 *
 * @typedef {object} Options
 * @property {string} [transport] websocket (the default), sse, fetch_streaming, long_polling, short_polling, …
 * @property {string} [name] makes you a member of the room
 * @property {string} [secret] of your client id, to be the same client after a reload; else a new one
 * @property {string} [after] a cursor, or "now"; else the last 50 events come first
 * @property {(event: RoomEvent) => void} [onEvent]
 * @property {(state: State, detail?: StateDetail) => void} [onState]
 * @property {(message: Message, state: "pending" | "accepted" | "refused", error?: ApiError) => void} [onSent]
 * @property {number} [interval] seconds between two short polls; 2
 * @property {number} [pad] bytes at the start of an iframe; 0
 * @property {string} [encoding] asks for compression: gzip or zstd, and deflate on a WebSocket
 * @property {string | URL} [base] another port of the same server
 * @property {string} [client] an id that this page has already
 * @property {boolean} [locate] false: no request for the cursor to start from
 * @property {(name: string) => any} [setting] `interval` and `pad`, where they may change
 * @property {string} [trace] the secret of a capture
 * @property {(names: string[]) => void} [onTransports] what a library has used
 */

const TIMEOUT = 10_000;
const ignore = () => {};

/**
 * Connect to a room.
 * @param {string} room
 * @param {Options} [options]
 */
export function connect(room, options) {
  const connection = new Connection(room, options);
  connection.reconnect();
  return connection;
}

/** A connection that is not open yet: `reconnect` opens it. */
export class Connection {
  #room;
  #options;
  #cursor;
  #shown = new Set();
  #attempt; // the last call of `reconnect`, until it is closed
  #current; // of the transport
  #receipts = new Map(); // id: {resolve, reject}
  #outbox = new Outbox((message) => this.#sendNow(message), (...sent) => this.#onSent(...sent));
  #closing = new AbortController();

  /**
   * @param {string} room
   * @param {Options} [options]
   */
  constructor(room, options = {}) {
    this.#room = room;
    this.#options = {
      transport: "websocket", interval: 2, pad: 0, setting: (name) => this.#options[name],
      onEvent: ignore, onState: ignore, onSent: ignore, ...options,
    };
    /** Your client id; undefined if you only listen. */
    this.client = options.client ?? (options.name ? newClient(options.secret) : undefined);
    addEventListener("pagehide", () => this.#onHide(), { signal: this.#closing.signal });
  }

  /** The position of the last event. */
  get cursor() { return this.#cursor; }

  /** The secret of your client id. */
  get secret() { return secretOf(this.client); }

  /** The messages that are not acknowledged yet. */
  get unsent() { return this.#outbox.messages; }

  /**
   * Send a text; resolves when the server has it.  It is sent again, under the same id, until then.
   * @param {string} text
   * @param {Partial<Message>} [fields] replace those of the message
   * @returns {Promise<{ id: string, cursor: string }>} rejects with an `ApiError` if the server refuses it
   */
  send(text, fields) {
    const { client } = this;
    const { name, transport: via } = this.#options;
    return this.resend({ id: uuid(), client, name, text, via, sent: Date.now(), ...fields });
  }

  /**
   * The same with a whole message, such as one of `unsent` that a page has kept.
   * @param {Message} message
   * @returns {Promise<{ id: string, cursor: string }>}
   */
  resend(message) {
    if (this.#closing.signal.aborted) return Promise.reject(networkError("no_connection"));
    const receipt = new Promise((resolve, reject) => this.#receipts.set(message.id, { resolve, reject }));
    receipt.catch(ignore); // who does not wait for it has `onSent`
    this.#outbox.add(message);
    return receipt;
  }

  /**
   * Continue at the same cursor over a new connection, in another room at that room's start.
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

  /** Stop to receive, until `reconnect`; what you send waits. */
  disconnect() {
    this.#attempt = undefined;
    this.#current?.close();
    this.#current = undefined;
  }

  /** Leave the room for good. */
  close() {
    this.disconnect();
    this.#leave();
    this.#closing.abort();
    for (const { id } of this.unsent) this.#outbox.settle(id);
    this.#receipts.forEach(({ reject }) => reject(networkError("no_connection")));
    this.#receipts.clear();
  }

  async #open() {
    const attempt = this.#attempt = {};
    const { transport, after, locate = true, onState, ...options } = this.#options;
    const module = await import(`./transports/${transport}.js`).catch(ignore);
    if (attempt !== this.#attempt) return; // there is a newer call
    if (!module) {
      const error = new ApiError("no_transport", `The module of ${transport} could not be loaded.`);
      return onState("refused", { error });
    }
    this.#current = module.connect(this.#room, {
      ...options,
      client: this.client,
      after: this.#cursor ?? (after === "now" ? undefined : after),
      shown: this.#shown,
      locate: locate ? (one) => this.#locate(one) : undefined,
      onEvent: (event) => this.#onEvent(event),
      onState: (state, detail) => this.#onState(state, detail),
    });
  }

  // A stream that has delivered nothing has no cursor.  When it breaks, "now" would be a later moment, and what
  // came in between would be lost.
  async #locate(one) {
    const attempt = this.#attempt;
    const { after, base } = this.#options;
    const url = roomUrl(this.#room, "short_polling", { after }, base);
    const { events, cursor } = await requestJSON(url, { signal: AbortSignal.timeout(TIMEOUT) });
    if (attempt !== this.#attempt) return;
    events.forEach(one.receive);
    one.at(cursor);
    this.#cursor = cursor;
  }

  async #sendNow(message) {
    if (!this.#current) throw networkError("no_connection");
    return this.#current.send(message);
  }

  #onEvent(event) {
    this.#cursor = event.cursor;
    // Our own message has arrived: as good as an acknowledgement.
    this.#outbox.settle(event.id);
    this.#settle(event.id, "resolve", { id: event.id, cursor: event.cursor });
    this.#options.onEvent(event);
  }

  #onState(state, detail) {
    if (state === "open") this.#outbox.wake();
    this.#options.onState(state, detail);
  }

  #onSent(message, state, error, receipt) {
    if (state === "accepted") this.#settle(message.id, "resolve", { id: message.id, cursor: receipt.cursor });
    if (state === "refused") this.#settle(message.id, "reject", error);
    this.#options.onSent(message, state, error);
  }

  #settle(id, outcome, value) {
    this.#receipts.get(id)?.[outcome](value);
    this.#receipts.delete(id);
  }

  // A page that is closed leaves at once.  The server announces it after a grace period, so a reload, which returns
  // as the same client, is not seen by others.
  #onHide() {
    if (!this.#attempt) return;
    this.disconnect();
    this.#leave();
    const { signal } = this.#closing;
    const show = ({ persisted }) => { if (persisted) this.reconnect(); };
    addEventListener("pageshow", show, { signal, once: true });
  }

  #leave() {
    if (!this.client || !this.#options.name) return;
    const url = roomUrl(this.#room, `members/${this.client}`, { secret: this.secret });
    fetch(url, { method: "DELETE", keepalive: true }).catch(ignore);
  }
}
