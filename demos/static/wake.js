// A page that wakes: a tab that is shown again, a phone out of a pocket, a network that is back.  Its
// timers stood still or were throttled meanwhile, so it had better look at once than by the clock.

// Whoever was away for less has missed no heartbeat.
const LONG = 15_000;

const FALLING_ASLEEP = ["visibilitychange", "freeze"];
const WAKING = ["visibilitychange", "resume"];

/** Call `look` whenever the page wakes; the result stops that. */
export function onWake(look) {
  const stopped = new AbortController();
  const { signal } = stopped;
  let since;

  function sleep({ type }) {
    if (document.hidden || type === "freeze") since ??= Date.now();
  }

  function wake() {
    if (document.hidden) return;
    if (since !== undefined && Date.now() - since >= LONG) look();
    since = undefined;
  }

  for (const sign of FALLING_ASLEEP) document.addEventListener(sign, sleep, { signal });
  for (const sign of WAKING) document.addEventListener(sign, wake, { signal });
  addEventListener("online", look, { signal });
  return () => stopped.abort();
}
