// A seat in the class: the number of our message in the room of seats.  The server numbers the messages of
// a room, so each phone gets another number, and the phones are dealt evenly over the transports.

import { requestJSON, roomUrl } from "../api.js";
import { publish, uuid } from "../publish.js";
import { session } from "../storage.js";
import { cursorAt, epochOf, offsetOf } from "./rooms.js";

/** `{number, offset}`: `offset` is what the server's clock is ahead of ours, in ms. */
export async function takeSeat(room, client) {
  const kept = JSON.parse(session.get(`seat.${room}`) ?? "null");
  // A duplicated tab is another client, and after a reset of the room nobody has a seat.
  if (kept?.client === client && epochOf(kept.cursor) === epochOf(await topOf(room))) return kept;
  const sent = Date.now();
  const { id, cursor } = await publish(room, { id: uuid(), client, text: "seat", via: "class" });
  const received = Date.now();
  const after = cursorAt(cursor, offsetOf(cursor) - 1);
  const { events } = await requestJSON(roomUrl(room, "short_polling", { after }));
  // The server's clock at a moment between our two; in a local network they are a few ms apart.
  const { published } = events.find((event) => event.id === id);
  const seat = { client, cursor, number: offsetOf(cursor) - 1, offset: published - (sent + received) / 2 };
  session.set(`seat.${room}`, JSON.stringify(seat));
  return seat;
}

async function topOf(room) {
  return (await requestJSON(roomUrl(room, "short_polling", { after: "now" }))).cursor;
}
