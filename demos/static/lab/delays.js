// The delays of the latest messages, and their quantiles: a mean hides the long waits that people notice.

const MAX_POINTS = 500;

export class Delays {
  points = []; // {at, delay}: seconds since the page was opened, and milliseconds

  add(at, delay) {
    this.points.push({ at, delay });
    if (this.points.length > MAX_POINTS) this.points.shift();
  }

  /** For each fraction, the delay in ms that this part of the messages did not exceed; undefined without any. */
  quantiles(...fractions) {
    const sorted = this.points.map(({ delay }) => delay).sort((a, b) => a - b);
    // Nearest rank: the result is a measured delay, not an interpolation.
    return fractions.map((fraction) => sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)]);
  }
}
