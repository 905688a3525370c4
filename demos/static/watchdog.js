// A stream that is silent may be quiet or dead: TCP does not tell when the other side has vanished.
// The server speaks at least every 15 seconds; where the page can hear that, silence is proof, and
// where the browser keeps it to itself (EventSource, WebSocket), the page has to ask in another way.

import { address, askJSON } from "./ask.js";
import { onWake } from "./wake.js";

// Two and a half heartbeats: one may be late, two are not.
const SILENCE = 2.5 * 15_000;
// What a short poll found may still be on its way down the stream.
const ON_ITS_WAY = 2_000;

/** Call `onSilence` when `heard` was not called for too long. */
export function watchdog(onSilence) {
  let timer;
  function heard() {
    clearTimeout(timer);
    timer = setTimeout(onSilence, SILENCE);
  }
  heard();
  return { heard, stop: () => clearTimeout(timer) };
}

/** The same where heartbeats cannot be heard: after a silence, look before calling it dead. */
export function blindWatchdog(room, life, base) {
  const dog = watchdog(async () => {
    if (await isDead(room, life, base)) life.ended();
    else dog.heard();
  });
  return wakeful(dog, room, life, base);
}

/** A watchdog that also looks when the page wakes: what is dead may have been so for long. */
export function wakeful(dog, room, life, base) {
  const sleep = onWake(async () => { if (await isDead(room, life, base)) life.ended(); });
  return {
    heard: dog.heard,
    stop() {
      sleep();
      dog.stop();
    },
  };
}

async function isDead(room, life, base) {
  const before = life.cursor;
  try {
    const answer = await look(room, { after: before }, base);
    if (!answer.events.length) return false;
  } catch (trouble) {
    return trouble.code === "network";
  }
  await new Promise((resolve) => setTimeout(resolve, ON_ITS_WAY));
  return life.cursor === before;
}

/**
 * Say why a connection was refused, where the browser shows no status: a short poll is told.
 * Undefined when it is answered well, and all that is known is that the connection ended.
 */
export async function whyNot(room, life, name, base) {
  try {
    await look(room, { after: life.cursor, name }, base);
  } catch (trouble) {
    return trouble;
  }
}

// Without `client`: this is a look from outside, and makes nobody a member.
function look(room, query, base) {
  return askJSON(address(room, "short_polling", query, base), { signal: AbortSignal.timeout(10_000) });
}
