// Fetch streaming: what EventSource does in the browser, done by hand: read, cut into lines, parse.
// In return everything can be seen: the status, the error, and the empty lines that are heartbeats.

import { address, ask } from "../ask.js";
import { keepConnected } from "../reconnect.js";
import { post } from "../send.js";
import { watchdog } from "../watchdog.js";

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
    read().then(() => life.ended(), (error) => life.ended(error));
    return () => {
      dog.stop();
      stopped.abort();
    };
  }

  const reader = keepConnected(live, options);
  return { send: (message) => post(room, message, { base, trace }), close: reader.close };
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
