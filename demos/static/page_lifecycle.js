// The Page Lifecycle: a tab becomes visible again, a phone wakes up, the network is back.  Timers stood still
// meanwhile, so the page checks its connection at once.

// A shorter absence misses no heartbeat.
const MIN_AWAY = 15_000;

const HIDE_EVENTS = ["visibilitychange", "freeze"];
const SHOW_EVENTS = ["visibilitychange", "resume"];

/** Call `check` whenever the page resumes; the result unsubscribes. */
export function onResume(check) {
  const stopped = new AbortController();
  const { signal } = stopped;
  let hiddenSince;

  function hide({ type }) {
    if (document.hidden || type === "freeze") hiddenSince ??= Date.now();
  }

  function show() {
    if (document.hidden) return;
    if (hiddenSince !== undefined && Date.now() - hiddenSince >= MIN_AWAY) check();
    hiddenSince = undefined;
  }

  for (const name of HIDE_EVENTS) document.addEventListener(name, hide, { signal });
  for (const name of SHOW_EVENTS) document.addEventListener(name, show, { signal });
  addEventListener("online", check, { signal });
  return () => stopped.abort();
}
