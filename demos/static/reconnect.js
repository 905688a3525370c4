// A connection is one life after another; what lasts from life to life is the cursor.
// A transport tells how one life is lived, and this file when the next begins: after full jitter.
//
//   connecting ── opened ──▶ open ── ended ──▶ waiting ── jitter ──▶ connecting …
//                              └── ended by an error that stays ──▶ refused

import { onWake } from "./wake.js";

// The ceiling doubles from one second to ten.  The wait is anything below it ("full jitter"), or a
// class whose server restarts would come back in one instant, and again, and again.
const FIRST = 1;
const LONGEST = 10;
// Ids to remember: the server keeps the last 1 000 events, so no older one can come again.
const SHOWN = 2000;

/**
 * Live again and again until closed.  `live(life)` begins one life and returns what stops it.
 * `onState` is told connecting, open, waiting {seconds, trouble} or refused {trouble}.
 */
export function keepConnected(live, options) {
  const { after, shown = new Set(), onEvent, onRepeat = () => {}, onState } = options;
  let cursor = after;
  let failures = 0;
  let timer, current, stop, state;
  let notBefore = 0; // the server wants to be left alone until then

  function tell(next, detail) {
    if (next === state && next !== "waiting") return;
    state = next;
    onState(next, detail);
  }

  function begin() {
    tell("connecting");
    const life = {
      get cursor() { return cursor; },
      opened: () => { if (life === current) { failures = 0; tell("open"); } },
      receive: (event) => { if (life === current) receive(event); },
      paused: () => { if (life === current) tell("waiting", {}); },
      ended: (trouble) => { if (life === current) retire(trouble); },
      renew: () => { if (life === current) { end(); begin(); } },
    };
    current = life;
    stop = live(life);
  }

  function receive(event) {
    cursor = event.cursor;
    if (shown.has(event.id)) return onRepeat(event);
    if (event.id) shown.add(event.id);
    if (shown.size > SHOWN) shown.delete(shown.values().next().value);
    onEvent(event);
  }

  function retire(trouble) {
    end();
    if (trouble?.final) return tell("refused", { trouble });
    const ceiling = Math.min(LONGEST, FIRST * 2 ** failures++);
    const asked = trouble?.retryAfter ?? 0;
    const seconds = asked + Math.random() * ceiling;
    notBefore = Date.now() + asked * 1000;
    timer = setTimeout(begin, seconds * 1000);
    tell("waiting", { seconds, trouble });
  }

  function end() {
    clearTimeout(timer);
    current = undefined; // whatever the old life still says is not heard
    stop?.();
    stop = undefined;
  }

  // Whoever looks at the page again does not wait for a timer; nobody wakes in step with others.
  const sleep = onWake(() => {
    if (current || state !== "waiting" || Date.now() < notBefore) return;
    clearTimeout(timer);
    begin();
  });

  begin();
  return {
    close() {
      sleep();
      end();
    },
  };
}
