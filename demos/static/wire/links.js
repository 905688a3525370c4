// Which arrow, which bytes and which message belong together.  A unit is a head with its body, a chunk or a
// frame (see traffic_parser.js); the keys of a unit are the ids of messages and the cursors of events that its
// payload contains.  Each view highlights what another view selects.

const ID = /"id": ?"([\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})"/g;
const EVENT_CURSOR = /"kind": ?"\w+", ?"cursor": ?"([\w-]+)"/g;
const MAX_UNITS = 1_000;

/** The ids and cursors in a payload, as text.  SockJS sends JSON in a string, whose quotes are escaped. */
export function keysIn(payload) {
  const json = payload.replaceAll('\\"', '"');
  const found = [...json.matchAll(ID), ...json.matchAll(EVENT_CURSOR)];
  return new Set(found.map(([, key]) => key));
}

export class Links {
  #keys = new Map(); // unit: its keys
  #listeners = [];
  #hovered;
  #chosen;

  /** The payload of a unit is complete. */
  add(unit, keys) {
    if (!keys.size) return;
    this.#keys.set(unit, keys);
    if (this.#keys.size > MAX_UNITS) this.#keys.delete(this.#keys.keys().next().value);
  }

  /**
   * Call `listener({source, units, keys})` when the selection changes.  Both are Sets, empty without a
   * selection; `source` is the view that selected.
   */
  on(listener) {
    this.#listeners.push(listener);
  }

  /** Highlight some `{units}` or `{keys}` while the pointer is over them; undefined ends that. */
  hover(source, some) {
    this.#hovered = some && { source, some };
    this.#emit();
  }

  /** Highlight some `{units}` or `{keys}` until others are selected. */
  select(source, some) {
    this.#chosen = some && { source, some };
    this.#hovered = undefined;
    this.#emit();
  }

  /** Forget all units: others with the same names follow. */
  clear() {
    this.#keys.clear();
    this.select();
  }

  /** Show the selection again: a view has become visible. */
  refresh() {
    this.#emit();
  }

  #emit() {
    const { source, some = {} } = this.#hovered ?? this.#chosen ?? {};
    const found = { source, ...this.#complete(some) };
    this.#listeners.forEach((listener) => listener(found));
  }

  #complete({ units = [], keys = [] }) {
    const contained = [...units].flatMap((unit) => [...(this.#keys.get(unit) ?? [])]);
    const containing = [...this.#keys].filter(([, some]) => [...keys].some((key) => some.has(key)));
    return {
      units: new Set([...units, ...containing.map(([unit]) => unit)]),
      keys: new Set([...keys, ...contained]),
    };
  }
}
