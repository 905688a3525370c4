// Long polling: ask, and let the server keep the question until it has an answer (RFC 6202 §2).
// The next question follows at once, so there is always one waiting, but for the gap in between.

import { address, askJSON } from "../ask.js";
import { tellPoll } from "../polls.js";
import { keepConnected } from "../reconnect.js";
import { post } from "../send.js";

const WAIT = 25; // seconds the server may keep us: below the 30 of impatient proxies
const PATIENCE = 10_000; // what an answer may take beyond that

export function connect(room, { client, name, base, trace, ...options }) {
  function live(life) {
    const stopped = new AbortController();

    async function turn(wait) {
      const query = { after: life.cursor, client, name, wait, trace };
      const signal = AbortSignal.any([
        stopped.signal,
        AbortSignal.timeout(wait * 1000 + PATIENCE),
      ]);
      const asked = performance.now();
      tellPoll({ asked, base });
      try {
        const answer = await askJSON(address(room, "long_polling", query, base), { signal });
        tellPoll({ asked, answered: performance.now(), events: answer.events, base });
        life.opened();
        answer.events.forEach(life.receive);
        if (!stopped.signal.aborted) turn(WAIT);
      } catch (trouble) {
        life.ended(trouble);
      }
    }

    // The first question does not wait: its answer tells that we are connected.
    turn(0);
    return () => stopped.abort();
  }

  const reader = keepConnected(live, options);
  return { send: (message) => post(room, message, { base, trace }), close: reader.close };
}
