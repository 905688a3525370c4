// Which transports this page can use.  A transport whose module exports `unavailable()` may not be among them.

import { explain } from "./i18n.js";

/** `{usable, missing}`: transports in their order, and `[{transport, why}]` with a text that says what would help. */
export async function findUsable(transports) {
  const reasons = await Promise.all(transports.map(whyUnavailable));
  const all = transports.map((transport, n) => ({ transport, why: reasons[n] }));
  return {
    usable: all.filter(({ why }) => !why).map(({ transport }) => transport),
    missing: all.filter(({ why }) => why),
  };
}

/** A text: what this browser or this server lacks, and what would help; undefined if the transport can be used. */
export async function whyUnavailable(transport) {
  const module = await import(`./transports/${transport}.js`).catch(() => {}); // the connection reports that
  const error = await module?.unavailable?.();
  return error && explain(error);
}
