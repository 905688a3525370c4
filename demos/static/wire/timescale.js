// The time scale of the sequence diagram maps a moment to a height, so that both a burst and an idle
// minute are readable.  Three rules:
//
//   a label is at least one row below the previous label                  (a burst is stretched)
//   the height between two moments grows with the logarithm of the time   (10 ms and 1 s are both visible)
//   after a limit it grows no more, and the picture shows the idle time
//
// Lengths are in rows.  There are few moments (those of the visible arrows), so each picture computes all
// heights.

const MAX_TIME = 2_500; // ms: a longer time is an idle period
const HALF_ROW = 20; // ms that take half a row; up to about here the scale is linear

export class TimeScale {
  #moments;
  idlePeriods = []; // {from, to, y}: `y` is the middle
  rows; // the total height

  /**
   * Set the `y` of each moment: `moments` are `{at, label}` in any order, where `label` is the number of
   * rows that it must be below the previous label.
   */
  constructor(moments) {
    this.#moments = moments.toSorted((a, b) => a.at - b.at);
    let previous;
    let labelY = 0; // the height of the last label
    for (const moment of this.#moments) {
      moment.y = previous ? previous.y + rowsFor(moment.at - previous.at) : 1;
      if (moment.label) {
        moment.y = Math.max(moment.y, labelY + moment.label);
        labelY = moment.y;
      }
      if (previous && moment.at - previous.at > MAX_TIME) this.#addIdlePeriod(previous, moment);
      previous = moment;
    }
    this.rows = (previous?.y ?? 0) + 0.75;
  }

  #addIdlePeriod(before, after) {
    this.idlePeriods.push({ from: before.at, to: after.at, y: (before.y + after.y) / 2 });
  }

  /** The height of any moment, interpolated between the given ones. */
  y(at) {
    const moments = this.#moments;
    let [low, high] = [0, moments.length - 1];
    if (high < 0 || at < moments[0].at) return 0; // older than all entries
    if (at >= moments[high].at) return moments[high].y;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (moments[middle].at <= at) low = middle;
      else high = middle;
    }
    const [above, below] = [moments[low], moments[high]];
    return above.y + ((at - above.at) / (below.at - above.at)) * (below.y - above.y);
  }
}

function rowsFor(ms) {
  return 0.5 * Math.log2(1 + Math.min(ms, MAX_TIME) / HALF_ROW);
}
