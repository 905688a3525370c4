// Break a stream and watch it heal: an EventSource of our own, through a bad network of our own, whose
// plug is pulled for two seconds.  Something is said before, and something meanwhile.

import { address } from "../ask.js";
import { t } from "../words.js";
import { borrowNetwork, pause, stranger } from "./parts.js";

const OUT = 2; // seconds without a network
const PATIENCE = 20_000;

/** `tell(key, values)` is told each step. */
export async function breakStream(room, tap, tell) {
  const network = await borrowNetwork("none");
  if (!network) throw new Error(t("lesson.no-networks"));
  const url = address(room, "sse", { after: "now", trace: tap.secret }, network.base);
  const source = new EventSource(url);
  try {
    await experiment(source, network, stranger(room).say, tell);
  } finally {
    source.close();
    network.giveBack();
  }
}

async function experiment(source, network, say, tell) {
  await happens(source, "open");
  tell("lesson.sse.open");
  const before = await hear(source, say(t("lesson.sse.before"), "sse"));
  tell("lesson.sse.heard", before);

  // The stream may know before we are answered.
  await Promise.all([happens(source, "error"), network.unplug(OUT)]);
  tell("lesson.sse.broken", { state: source.readyState });
  const said = say(t("lesson.sse.meanwhile"), "sse");
  await said.said;
  tell("lesson.sse.said-meanwhile");
  // Listening begins before the stream does: what was missed comes with its first bytes.
  const missed = hear(source, said);
  await happens(source, "open");
  tell("lesson.sse.open-again", { id: before.id });
  tell("lesson.sse.heard", await missed);
  await pause(0);
}

function happens(source, what) {
  return new Promise((resolve, reject) => {
    source.addEventListener(what, resolve, { once: true });
    setTimeout(() => reject(new Error(t("lesson.no-answer"))), PATIENCE);
  });
}

/** Wait until what was said comes down this stream: `{text, id}`. */
function hear(source, { id }) {
  return new Promise((resolve, reject) => {
    source.addEventListener("message", function listen({ data, lastEventId }) {
      const event = JSON.parse(data);
      if (event.id !== id) return;
      source.removeEventListener("message", listen);
      resolve({ text: event.text, id: lastEventId });
    });
    setTimeout(() => reject(new Error(t("lesson.no-answer"))), PATIENCE);
  });
}
