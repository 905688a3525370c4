// Each poll announces itself, so that a lesson can measure it: when the request started, when the
// response arrived, and which events it brought.  Times are of this page's clock, performance.now().

/** `detail` is `{sentAt, base}` for a request, then `{sentAt, receivedAt, events, base}` for its response. */
export function emitPoll(detail) {
  dispatchEvent(new CustomEvent("poll", { detail }));
}

/** Call `listener(detail)` for each poll; the result unsubscribes. */
export function onPoll(listener) {
  const handle = ({ detail }) => listener(detail);
  addEventListener("poll", handle);
  return () => removeEventListener("poll", handle);
}
