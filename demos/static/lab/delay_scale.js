// The logarithmic scale of delays: from loopback to a poll every ten seconds.  On a linear one everything
// below a tenth of a second would be one line.

const MIN_DELAY = 0.3; // ms
const MAX_DELAY = 30_000;
const DECADES = Math.log10(MAX_DELAY / MIN_DELAY);

/** The delays to label, in ms. */
export const TICKS = [1, 10, 100, 1000, 10_000];

export function tickText(ms) {
  return ms < 1000 ? `${ms} ms` : `${ms / 1000} s`;
}

/** Where a delay is between the two ends: 0 is the shortest, 1 the longest. */
export function positionOf(delay) {
  const position = Math.log10(Math.max(delay, MIN_DELAY) / MIN_DELAY) / DECADES;
  return Math.min(position, 1);
}
