// Fetch streaming: what EventSource does in the browser, done by hand: read, cut into lines, parse.
// In return everything can be seen: the status, the error, and the empty lines that are heartbeats.

import { address, ask, Trouble } from "../ask.js";
import { keepConnected } from "../reconnect.js";
import { post } from "../send.js";
import { watchdog } from "../watchdog.js";
import { t } from "../words.js";

export function connect(room, { client, name, base, trace, ...options }) {
  function live(life) {
    const stopped = new AbortController();
    const dog = watchdog(() => life.ended());

    async function read() {
      const query = { after: life.cursor, client, name, trace };
      const { signal } = stopped;
      const response = await ask(address(room, "fetch_streaming", query, base), { signal });
      life.opened();
      for await (const line of lines(response.body)) {
        dog.heard();
        if (line) life.receive(JSON.parse(line));
      }
    }

    // A stream that breaks off is an error like any other: go on by cursor.
    read().then(() => life.ended(), (error) => life.ended(trouble(error)));
    return () => {
      dog.stop();
      stopped.abort();
    };
  }

  const reader = keepConnected(live, options);
  return { send: (message) => post(room, message, { base, trace }), close: reader.close };
}

// What the browser says of a stream that broke off is in its own language.
function trouble(error) {
  return error instanceof TypeError ? new Trouble("network", t("trouble.broken_answer")) : error;
}

// A chunk of the network ends anywhere: within a line, and within a character.
async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
}
