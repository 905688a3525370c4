// A connection is a series of attempts with one cursor.  A transport defines an attempt (`connectOnce`), and this
// file starts the next one after a wait with full jitter.
//
//   connecting ── opened ──▶ open ── ended ──▶ waiting ── jitter ──▶ connecting …
//                              └── ended by a final error ──▶ refused

import { onResume } from "./page_lifecycle.js";

// Seconds: the ceiling doubles, and the wait is a random part of it.  Without jitter a class whose server restarts
// would reconnect in the same instant, again and again.
const MIN_CEILING = 1;
const MAX_CEILING = 10;
// Ids to remember: the server keeps the last 1 000 events, so an older one cannot come again.
const MAX_SHOWN = 2000;

/**
 * Reconnect until closed.  `connectOnce(attempt)` returns the function that stops the attempt; `locate(attempt)`,
 * if given, finds a first cursor.  `onState` receives connecting, open, waiting {seconds, error} or refused {error}.
 */
export function keepConnected(connectOnce, options) {
  const { after, shown = new Set(), locate, onEvent, onRepeat = () => {}, onState } = options;
  let cursor = after;
  let failures = 0;
  let timer, current, stop, state;
  let notBefore = 0; // the server asked us to wait until then

  function setState(next, detail) {
    if (next === state && next !== "waiting") return;
    state = next;
    onState(next, detail);
  }

  async function start() {
    setState("connecting");
    const attempt = {
      get cursor() { return cursor; },
      opened: () => { if (attempt === current) { failures = 0; setState("open"); } },
      receive: (event) => { if (attempt === current) receive(event); },
      // Else a reader from "now" in an empty room would read from a later now each time.
      at: (position) => { if (attempt === current) cursor = position; },
      paused: () => { if (attempt === current) setState("waiting", {}); },
      ended: (error) => { if (attempt === current) retryLater(error); },
      renew: () => { if (attempt === current) { end(); start(); } },
    };
    current = attempt;
    if (cursor === undefined && locate) {
      try {
        await locate(attempt);
      } catch (error) {
        return attempt.ended(error);
      }
      if (attempt !== current) return; // closed meanwhile
    }
    stop = connectOnce(attempt);
  }

  function receive(event) {
    cursor = event.cursor;
    if (shown.has(event.id)) return onRepeat(event);
    if (event.id) shown.add(event.id);
    if (shown.size > MAX_SHOWN) shown.delete(shown.values().next().value);
    onEvent(event);
  }

  function retryLater(error) {
    end();
    if (error?.final) return setState("refused", { error });
    const ceiling = Math.min(MAX_CEILING, MIN_CEILING * 2 ** failures++);
    const retryAfter = error?.retryAfter ?? 0;
    const seconds = retryAfter + Math.random() * ceiling;
    notBefore = Date.now() + retryAfter * 1000;
    timer = setTimeout(start, seconds * 1000);
    setState("waiting", { seconds, error });
  }

  function end() {
    clearTimeout(timer);
    current = undefined; // later callbacks of the old attempt are ignored
    stop?.();
    stop = undefined;
  }

  // Users return to a page at different moments, so this needs no jitter.
  const unsubscribe = onResume(() => {
    if (current || state !== "waiting" || Date.now() < notBefore) return;
    clearTimeout(timer);
    start();
  });

  start();
  return {
    close() {
      unsubscribe();
      end();
    },
  };
}
