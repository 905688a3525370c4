// The rooms of a class besides the one in which it chats, and a reader of them.

import { requestJSON, roomUrl } from "../api.js";

const MAX_BASE = 56; // characters, so that the longest suffix still makes a room of at most 64
const TIMEOUT = 10_000;

/**
 * `commands` is where only the lecturer publishes (the server checks it), `seats` gives each phone a number,
 * `reports` has the delays that the phones measured, and `votes` their predictions.
 */
export function classRooms(room) {
  const base = [...room].slice(0, MAX_BASE).join("");
  return { commands: `${base}.class`, seats: `${base}.seats`, reports: `${base}.reports`, votes: `${base}.votes` };
}

/** A cursor is `EPOCH-OFFSET`: the offsets of one epoch count the events of the room. */
export function offsetOf(cursor) {
  return Number(cursor.slice(cursor.lastIndexOf("-") + 1));
}

export function epochOf(cursor) {
  return cursor.slice(0, cursor.lastIndexOf("-"));
}

/** The cursor `offset` in the same epoch. */
export function cursorAt(cursor, offset) {
  return `${epochOf(cursor)}-${offset}`;
}

/** Reads all messages of a room in their order, from its first one on, or after a cursor, with short polls. */
export class RoomReader {
  #room;
  #cursor;

  constructor(room, cursor) {
    this.#room = room;
    this.#cursor = cursor;
  }

  /** The messages since the last call, and the cursor after them. */
  async read() {
    if (!this.#cursor) this.#cursor = cursorAt((await this.#poll("now")).cursor, 0);
    const events = [];
    for (let more = true; more;) {
      const page = await this.#poll(this.#cursor);
      this.#cursor = page.cursor;
      events.push(...page.events);
      ({ more } = page);
    }
    return { events: events.filter(({ kind }) => kind === "say"), cursor: this.#cursor };
  }

  #poll(after) {
    const signal = AbortSignal.timeout(TIMEOUT);
    return requestJSON(roomUrl(this.#room, "short_polling", { after }), { signal });
  }
}

/** The JSON object in the text of a message, or an empty one: anybody may write into a room. */
export function parseText({ text }) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" ? value : {};
  } catch {
    return {};
  }
}
