// The time scale of the sequence diagram: from a moment to a height, so that a burst and a quiet
// minute can both be read.  Three rules:
//
//   what carries a label is at least a row below the label before it      (a burst is stretched)
//   time in between grows with its logarithm                   (10 ms and 1 s both can be seen)
//   after a while the height grows no more, and the picture says how long it was ("silence")
//
// Lengths are in rows.  The moments are few (those of the arrows that are kept), so all is computed
// anew for each picture.

const SILENCE = 2_500; // ms
const HALF = 20; // ms: so much time has half a row, and up to about here height follows time

export class TimeScale {
  #moments;
  silences = []; // {from, to, y}: `y` in the middle
  rows; // the height of all

  /**
   * Give each moment its height: `moments` are `{at, label}`, in any order, where `label` is how many
   * rows it has to be below the label before it; each gets its `y`.
   */
  constructor(moments) {
    this.#moments = moments.toSorted((one, other) => one.at - other.at);
    let before;
    let labelled = 0; // the height of the last label
    for (const moment of this.#moments) {
      moment.y = before ? before.y + stretch(moment.at - before.at) : 1;
      if (moment.label) {
        moment.y = Math.max(moment.y, labelled + moment.label);
        labelled = moment.y;
      }
      if (before && moment.at - before.at > SILENCE) this.#addSilence(before, moment);
      before = moment;
    }
    this.rows = (before?.y ?? 0) + 0.75;
  }

  #addSilence(before, after) {
    this.silences.push({ from: before.at, to: after.at, y: (before.y + after.y) / 2 });
  }

  /** The height of any moment: of those that were given exactly, in between in proportion. */
  y(at) {
    const moments = this.#moments;
    let [low, high] = [0, moments.length - 1];
    if (high < 0 || at < moments[0].at) return 0; // above all that is kept
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

function stretch(milliseconds) {
  return 0.5 * Math.log2(1 + Math.min(milliseconds, SILENCE) / HALF);
}
