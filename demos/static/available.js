// Which transports this page can use.  A transport whose module exports `unavailable()` may not be among them.

/** `{usable, missing}`: transports in their order, and `[{transport, why}]` with a text that says what would help. */
export async function sortOut(transports) {
  const reasons = await Promise.all(transports.map(whyUnavailable));
  const all = transports.map((transport, n) => ({ transport, why: reasons[n] }));
  return {
    usable: all.filter(({ why }) => !why).map(({ transport }) => transport),
    missing: all.filter(({ why }) => why),
  };
}

async function whyUnavailable(transport) {
  const { unavailable } = await import(`./transports/${transport}.js`);
  return unavailable?.();
}
