// What a poll says of itself to whoever looks on: when it asks, and when it was answered and what that
// brought, by this page's clock.  Most pages have nobody who listens.

/** `{asked, base}`, and later `{asked, answered, events, base}`: times as of performance.now(). */
export function tellPoll(detail) {
  dispatchEvent(new CustomEvent("poll", { detail }));
}

/** Hear of each poll from now on; the result stops it. */
export function onPoll(listener) {
  const hear = ({ detail }) => listener(detail);
  addEventListener("poll", hear);
  return () => removeEventListener("poll", hear);
}
