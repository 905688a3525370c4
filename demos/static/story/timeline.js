// When each message of the capture flies across its lane.  On one machine a message takes less than a
// millisecond; here each takes FLIGHT.  What follows from a message waits until that one has landed, so
// cause comes before effect, as in the capture:
//
//   a response, an event or an acknowledgement leaves after the latest request has arrived
//   the next poll, and the answer to a ping, leave after the latest response has arrived
//
// What the user sends leaves at once.  Pure: times are ms of any clock, and the caller gives `now`.

export const FLIGHT = 800; // ms
const SPACING = 220; // ms between two dots that leave the same end: their labels stay readable
const MAX_LAG = 5_000; // ms: in a burst, later messages are counted but not drawn

export class Timeline {
  #left = { up: -Infinity, down: -Infinity }; // when the latest dot left its end
  #landed = { up: -Infinity, down: -Infinity }; // when it arrives at the other

  /** The user sends at `now`: nothing that the server sends from now on can leave before that arrives. */
  userSends(now) {
    this.#landed.up = Math.max(this.#landed.up, now + FLIGHT);
  }

  /**
   * The flight of an entry (see wire/trace_builder.js): `{direction, start, end}`, or undefined if it has
   * no direction or would be too late.
   */
  add(entry, now) {
    const { direction } = entry;
    if (!direction) return undefined;
    const start = Math.max(now, this.#left[direction] + SPACING, this.#causeLanded(entry));
    if (start - now > MAX_LAG) return undefined;
    this.#left[direction] = start;
    this.#landed[direction] = Math.max(this.#landed[direction], start + FLIGHT);
    return { direction, start, end: start + FLIGHT };
  }

  /** The dots that have not left at `now` are not waited for. */
  catchUp(now) {
    for (const direction of ["up", "down"]) {
      this.#left[direction] = Math.min(this.#left[direction], now);
      this.#landed[direction] = Math.min(this.#landed[direction], now + FLIGHT);
    }
  }

  /** After a pause everything under way is later by its length. */
  postpone(length) {
    for (const direction of ["up", "down"]) {
      this.#left[direction] += length;
      this.#landed[direction] += length;
    }
  }

  #causeLanded(entry) {
    if (entry.direction === "down") return this.#landed.up;
    return isReaction(entry) ? this.#landed.down : -Infinity;
  }
}

// A poll follows the previous response, a pong its ping.
function isReaction({ type, exchange }) {
  return type === "pong" || (type === "request" && Boolean(exchange?.transport));
}

/**
 * What a dot shows: "message" (it carries a message of the chat), "request", "empty" (a response without
 * messages), or "other".
 */
export function kindOf({ type, method, target, events }) {
  if (type === "request") return method === "POST" ? "message" : "request";
  if (type === "message" || events > 0) return "message";
  return type === "response" && events === 0 && !isLibrary(target) ? "empty" : "other";
}

// The responses to a library's polls carry its own packets, such as the one that opens the session.
function isLibrary(target) {
  return target.startsWith("/sockjs/") || target.startsWith("/socket.io/");
}

/** The diameter of a dot in px: its area grows with the bytes, within the limits of what can be seen. */
export function diameter(bytes) {
  return Math.round(Math.min(34, Math.max(9, 0.9 * Math.sqrt(bytes))));
}
