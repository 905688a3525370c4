// A seat in the class, and the server's clock: both come from messages that we publish.
//
// The server numbers the messages of a room, so each phone gets another number in the room of seats, and the
// phones are dealt evenly over the transports.

import { ApiError, requestJSON, roomUrl } from "../api.js";
import { publish, uuid } from "../publish.js";
import { session } from "../storage.js";
import { cursorAt, epochOf, offsetOf } from "./rooms.js";

const PROBES = 4;
const RETRY_JITTER = 2; // seconds

/** The number of our seat: 0 for the first phone. */
export async function takeSeat(room, client) {
  const kept = JSON.parse(session.get(`seat.${room}`) ?? "null");
  // A duplicated tab is another client, and after a reset of the room nobody has a seat.
  if (kept?.client === client) {
    const top = await retried(() => topOf(room));
    if (epochOf(kept.cursor) === epochOf(top)) return offsetOf(kept.cursor) - 1;
  }
  const message = { id: uuid(), client, text: "seat", via: "class" }; // the same id: one seat, however often we try
  const { cursor } = await retried(() => publish(room, message));
  session.set(`seat.${room}`, JSON.stringify({ client, cursor }));
  return offsetOf(cursor) - 1;
}

// Forty phones come in the same minute, perhaps from one address: the server may ask some to wait.
async function retried(action) {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof ApiError) || error.final) throw error;
      const seconds = error.retryAfter + Math.random() * RETRY_JITTER;
      await new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });
    }
  }
}

async function topOf(room) {
  return (await requestJSON(roomUrl(room, "short_polling", { after: "now" }))).cursor;
}

/**
 * How far the clock of the message broker is ahead of ours, in ms.  It is known to half of a round trip, so
 * the fastest of a few probes decides: a page that is loading is slow.
 */
export async function clockOffset(room, client) {
  const probes = [];
  for (let n = 0; n < PROBES; n++) probes.push(await retried(() => probeClock(room, client)));
  probes.sort((one, other) => one.took - other.took);
  return probes[0].offset;
}

async function probeClock(room, client) {
  const sent = Date.now();
  const { id, cursor } = await publish(room, { id: uuid(), client, text: "clock", via: "class" });
  const received = Date.now();
  const after = cursorAt(cursor, offsetOf(cursor) - 1);
  const { events } = await requestJSON(roomUrl(room, "short_polling", { after }));
  const { published } = events.find((event) => event.id === id);
  return { took: received - sent, offset: published - (sent + received) / 2 };
}
