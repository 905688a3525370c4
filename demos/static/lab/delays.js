// The delays of the latest messages, and their quantiles: means hide what makes people wait.

const KEPT = 500;

export class Delays {
  points = []; // {at, delay}: seconds since the page began, and milliseconds; the latest

  add(at, delay) {
    this.points.push({ at, delay });
    if (this.points.length > KEPT) this.points.shift();
  }

  /** Delays in ms that the given parts of the messages did not exceed; undefined without any. */
  quantiles(...parts) {
    const sorted = this.points.map(({ delay }) => delay).sort((one, other) => one - other);
    // The nearest rank: a delay that was measured, and none in between.
    return parts.map((part) => sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)]);
  }

  clear() {
    this.points = [];
  }
}
