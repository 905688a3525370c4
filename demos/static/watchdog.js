// A stream without data may be idle or dead: TCP does not report a peer that has vanished.  The server sends
// something every 15 seconds.  Where the browser hides that (EventSource, WebSocket), the page has to probe.

import { requestJSON, roomUrl } from "./api.js";
import { onResume } from "./page_lifecycle.js";

// Two and a half heartbeats: one may be late, two are not.
const IDLE_TIMEOUT = 2.5 * 15_000;
// An event that a short poll found may still be on its way down the stream.
const DELIVERY_TIME = 2_000;
const PROBE_TIMEOUT = 10_000;

/** Call `onTimeout` when `reset` was not called for too long. */
export function watchdog(onTimeout) {
  let timer;
  function reset() {
    clearTimeout(timer);
    timer = setTimeout(onTimeout, IDLE_TIMEOUT);
  }
  reset();
  return { reset, stop: () => clearTimeout(timer) };
}

/** The same where heartbeats are invisible: probe before ending the attempt. */
export function probingWatchdog(room, attempt, base) {
  const inner = watchdog(async () => {
    if (await isDead(room, attempt, base)) attempt.ended();
    else inner.reset();
  });
  return withResumeCheck(inner, room, attempt, base);
}

/** A watchdog that also probes when the page resumes: the connection may have died long ago. */
export function withResumeCheck(inner, room, attempt, base) {
  const unsubscribe = onResume(async () => { if (await isDead(room, attempt, base)) attempt.ended(); });
  return {
    reset: inner.reset,
    stop() {
      unsubscribe();
      inner.stop();
    },
  };
}

async function isDead(room, attempt, base) {
  const before = attempt.cursor;
  try {
    const { events } = await probe(room, { after: before }, base);
    if (!events.length) return false;
  } catch (error) {
    return error.code === "network";
  }
  await new Promise((resolve) => setTimeout(resolve, DELIVERY_TIME));
  return attempt.cursor === before;
}

/**
 * Why a connection was refused, where the browser shows no status: a short poll, as the `member` that was refused,
 * receives the error.  Undefined if the poll succeeds.
 */
export async function diagnose(room, attempt, member, base) {
  try {
    await probe(room, { after: attempt.cursor, ...member }, base);
  } catch (error) {
    return error;
  }
}

function probe(room, query, base) {
  const signal = AbortSignal.timeout(PROBE_TIMEOUT);
  return requestJSON(roomUrl(room, "short_polling", query, base), { signal });
}
