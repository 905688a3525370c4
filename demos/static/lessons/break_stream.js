// Disconnect a stream and watch it resume: an EventSource of our own, through a leased proxy that is
// disconnected for two seconds.  One message is sent before, and one meanwhile.

import { roomUrl } from "../api.js";
import { t } from "../i18n.js";
import { leaseNetwork, sleep, testUser } from "./helpers.js";

const OUTAGE = 2; // seconds
const TIMEOUT = 20_000;

/** Calls `onStep(key, values)` for each step. */
export async function breakStream(room, tap, onStep) {
  const network = await leaseNetwork("none");
  if (!network) throw new Error(t("lesson.no-networks"));
  const url = roomUrl(room, "sse", { after: "now", trace: tap.secret }, network.base);
  const source = new EventSource(url);
  try {
    await experiment(source, network, testUser(room).send, onStep);
  } finally {
    source.close();
    network.release();
  }
}

async function experiment(source, network, send, onStep) {
  await nextEvent(source, "open");
  onStep("lesson.sse.open");
  const before = await delivery(source, send(t("lesson.sse.before"), "sse"));
  onStep("lesson.sse.heard", before);

  // The stream may break before the response to this request arrives.
  await Promise.all([nextEvent(source, "error"), network.disconnect(OUTAGE)]);
  onStep("lesson.sse.broken", { state: source.readyState });
  const message = send(t("lesson.sse.meanwhile"), "sse");
  await message.done;
  onStep("lesson.sse.said-meanwhile");
  // Listen before the stream opens: the missed message comes with its first bytes.
  const missed = delivery(source, message);
  await nextEvent(source, "open");
  onStep("lesson.sse.open-again", { id: before.id });
  onStep("lesson.sse.heard", await missed);
  await sleep(0);
}

function nextEvent(source, type) {
  return new Promise((resolve, reject) => {
    source.addEventListener(type, resolve, { once: true });
    setTimeout(() => reject(new Error(t("lesson.no-answer"))), TIMEOUT);
  });
}

/** Wait until this stream delivers a message: `{text, id}`. */
function delivery(source, { id }) {
  return new Promise((resolve, reject) => {
    source.addEventListener("message", function listener({ data, lastEventId }) {
      const event = JSON.parse(data);
      if (event.id !== id) return;
      source.removeEventListener("message", listener);
      resolve({ text: event.text, id: lastEventId });
    });
    setTimeout(() => reject(new Error(t("lesson.no-answer"))), TIMEOUT);
  });
}
