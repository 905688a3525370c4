// One traffic capture for all lanes of the page.  Each request names its client, in its URL or in its JSON,
// and each lane is a client: so its requests, their responses and its frames go to that lane.  The request of a QUIC
// connection is encrypted; only one lane has such a connection.

import { isQuic } from "../wire/quic.js";

// Frames never start like this: their first byte is 0x81 or similar.
const REQUEST_START = /^(GET|POST|PUT|DELETE|OPTIONS) /;
const CLIENT = /[?&]client=([\w-]+)|"client":"([\w-]+)"/;
const MAX_WAITING = 65_536; // bytes of a request that names no client

export class Demux {
  #listeners = new Map(); // client: function
  #quic; // the listener of the lane with a QUIC connection
  #connections = new Map(); // number: {listener} or, until the client is known, {waiting, text}

  /** Call `listener(record)` for the traffic of this client; with `quic` for new QUIC connections. */
  add(client, listener, { quic = false } = {}) {
    this.#listeners.set(client, listener);
    if (quic) this.#quic = listener;
  }

  remove(client) {
    const listener = this.#listeners.get(client);
    this.#listeners.delete(client);
    for (const [number, one] of this.#connections) {
      if (one.listener !== listener) continue;
      // The last packets of a connection must not go to the next lane.
      if (one.isQuic) this.#connections.set(number, { listener() {}, isQuic: true });
      else this.#connections.delete(number);
    }
    if (this.#quic === listener) this.#quic = undefined;
  }

  /** Feed a record of the tap. */
  feed(record) {
    if (record.dropped) return this.#listeners.forEach((listener) => listener(record));
    if (isQuic(record)) this.#routeQuic(record);
    else if (record.bytes) this.#route(record);
    if (record.closed) this.#close(record);
  }

  #routeQuic(record) {
    const { connection: number } = record;
    if (!this.#connections.has(number) && this.#quic) {
      this.#connections.set(number, { listener: this.#quic, isQuic: true });
    }
    this.#connections.get(number)?.listener(record);
  }

  #route(record) {
    const { connection: number, direction, bytes } = record;
    const data = direction === "up" ? text(bytes) : "";
    // A browser sends a request when the previous response is complete, so a new request starts a record.
    if (REQUEST_START.test(data)) this.#connections.set(number, { waiting: [], text: "" });
    const connection = this.#connections.get(number);
    if (!connection) return;
    if (connection.listener) return connection.listener(record);
    connection.waiting.push(record);
    connection.text += data;
    if (connection.text.length > MAX_WAITING) this.#connections.delete(number);
    else this.#identify(number, connection);
  }

  // The head of a POST may come before its body, which names the client.
  #identify(number, { waiting, text: data }) {
    const [, inUrl, inBody] = CLIENT.exec(data) ?? [];
    const listener = this.#listeners.get(inUrl ?? inBody);
    if (!listener) return;
    this.#connections.set(number, { listener });
    waiting.forEach((record) => listener(record));
  }

  #close(record) {
    this.#connections.get(record.connection)?.listener?.(record);
    this.#connections.delete(record.connection);
  }
}

// The patterns are ASCII, so any encoding that keeps ASCII works.
const latin1 = new TextDecoder("latin1");
const text = (bytes) => latin1.decode(bytes);
