// The delays of the latest messages, and their quantiles: a mean hides the long waits that people notice.

const MAX_VALUES = 500;

export class Delays {
  #values = []; // ms

  add(delay) {
    this.#values.push(delay);
    if (this.#values.length > MAX_VALUES) this.#values.shift();
  }

  /** The last `count` delays. */
  last(count) {
    return this.#values.slice(-count);
  }

  clear() {
    this.#values = [];
  }

  /** For each fraction, the delay in ms that this part of the messages did not exceed; undefined without any. */
  quantiles(...fractions) {
    const sorted = this.#values.toSorted((a, b) => a - b);
    // Nearest rank: the result is a measured delay, not an interpolation.
    return fractions.map((fraction) => sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)]);
  }
}
