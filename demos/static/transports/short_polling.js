// Short polling: ask, and ask again after a while, whether or not there was anything to hear.
// Every answer is complete, so there is nothing to watch, and a failed question is asked again.

import { address, askJSON } from "../ask.js";
import { tellPoll } from "../polls.js";
import { keepConnected } from "../reconnect.js";
import { post } from "../send.js";

const PATIENCE = 10_000;

export function connect(room, { client, name, base, trace, knob, ...options }) {
  function live(life) {
    const stopped = new AbortController();
    let timer;

    async function turn() {
      const query = { after: life.cursor, client, name, trace };
      const signal = AbortSignal.any([stopped.signal, AbortSignal.timeout(PATIENCE)]);
      const asked = performance.now();
      tellPoll({ asked, base });
      try {
        const answer = await askJSON(address(room, "short_polling", query, base), { signal });
        tellPoll({ asked, answered: performance.now(), events: answer.events, base });
        life.opened();
        answer.events.forEach(life.receive);
        if (stopped.signal.aborted) return;
        // A mean of half the interval is lost here; `more` says that the answer was cut.
        timer = setTimeout(turn, answer.more ? 0 : knob("interval") * 1000);
      } catch (trouble) {
        life.ended(trouble);
      }
    }

    turn();
    return () => {
      stopped.abort();
      clearTimeout(timer);
    };
  }

  const reader = keepConnected(live, options);
  return { send: (message) => post(room, message, { base, trace }), close: reader.close };
}
