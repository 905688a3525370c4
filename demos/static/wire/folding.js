// Too many arrows cannot be read: what comes more often than a dozen times in a second becomes one
// thick arrow, "41 frames, 12 kB in 1 s".  Only like is folded with like: a thing says in `fold` what
// it is one of, and one without `fold` always stands for itself.

const MOST = 12; // of a kind in a second
const SECOND = 1000; // ms

export class Folding {
  #seconds = new Map(); // fold: the things of its latest second, {from, goesOn, things, bundle}

  /** Put `thing` into the array `things`, by itself or in a bundle. */
  add(things, thing) {
    if (thing.fold === undefined) return void things.push(thing);
    const latest = this.#second(thing);
    if (latest.bundle) return void grow(latest.bundle, thing);
    things.push(thing);
    latest.things.push(thing);
    if (latest.things.length <= MOST && !latest.goesOn) return;
    latest.bundle = bundle(latest.things);
    replace(things, latest.things, latest.bundle);
  }

  // A second begins with its first thing.  After one with a bundle the next is a bundle from the
  // beginning: arrows would come and vanish otherwise.
  #second({ fold, at }) {
    let latest = this.#seconds.get(fold);
    if (latest === undefined || at - latest.from >= SECOND) {
      const goesOn = latest?.bundle !== undefined && at - latest.bundle.until < SECOND;
      latest = { from: at, goesOn, things: [] };
      this.#seconds.set(fold, latest);
    }
    return latest;
  }
}

// It is what its first is, where its first was; `until` is where its last is.
function bundle(things) {
  const whole = { ...things[0], count: 0, events: 0, bytes: 0, until: things[0].at };
  for (const thing of things) grow(whole, thing);
  return whole;
}

function grow(whole, { at, bytes, events = 0 }) {
  whole.count += 1;
  whole.bytes += bytes;
  whole.events += events;
  whole.until = at;
}

function replace(things, some, one) {
  const gone = new Set(some);
  const place = things.indexOf(some[0]);
  const rest = things.filter((thing) => !gone.has(thing));
  rest.splice(place, 0, one);
  things.splice(0, things.length, ...rest);
}
