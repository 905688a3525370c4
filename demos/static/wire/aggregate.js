// Too many arrows are unreadable: more than a dozen entries of one group in a second become one thick arrow,
// "41 frames, 12 kB in 1 s".  An entry names its group in `group`; one without a group is never aggregated.  With
// `most` an entry sets another limit for its group.

const MAX_PER_SECOND = 12; // entries of one group
const SECOND = 1000; // ms
const MAX_UNITS = 200; // of an aggregate

export class Aggregator {
  #seconds = new Map(); // group: its latest second, {from, continues, entries, aggregate}

  /** Add `entry` to the array `entries`, by itself or as part of an aggregate. */
  add(entries, entry) {
    if (entry.group === undefined) return void entries.push(entry);
    const latest = this.#second(entry);
    if (latest.aggregate) return void grow(latest.aggregate, entry);
    entries.push(entry);
    latest.entries.push(entry);
    if (latest.entries.length <= (entry.most ?? MAX_PER_SECOND) && !latest.continues) return;
    latest.aggregate = aggregate(latest.entries);
    replace(entries, latest.entries, latest.aggregate);
  }

  // A second starts with its first entry.  After a second with an aggregate the next one aggregates from its
  // first entry, or arrows would appear and vanish again.
  #second({ group, at }) {
    let latest = this.#seconds.get(group);
    if (latest === undefined || at - latest.from >= SECOND) {
      const continues = latest?.aggregate !== undefined && at - latest.aggregate.until < SECOND;
      latest = { from: at, continues, entries: [] };
      this.#seconds.set(group, latest);
    }
    return latest;
  }
}

// It has the values and the position of its first entry; `until` is the time of its last.
function aggregate(entries) {
  const whole = { ...entries[0], count: 0, events: 0, bytes: 0, units: [], until: entries[0].at };
  for (const entry of entries) grow(whole, entry);
  return whole;
}

function grow(whole, { at, bytes, units = [], events = 0 }) {
  whole.count += 1;
  whole.bytes += bytes;
  whole.events += events;
  whole.until = at;
  if (whole.units.length < MAX_UNITS) whole.units.push(...units);
}

function replace(entries, some, one) {
  const removed = new Set(some);
  const index = entries.indexOf(some[0]);
  const rest = entries.filter((entry) => !removed.has(entry));
  rest.splice(index, 0, one);
  entries.splice(0, entries.length, ...rest);
}
