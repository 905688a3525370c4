// Draws the sequence diagram as SVG.  Most shapes are the same in the next picture, and their elements stay:
// so little is painted, and a tooltip stays open.

import { svgEl } from "../dom.js";
import { clock, describe, label } from "./labels.js";
import { layOut } from "./layout.js";
import { arrowShape, barShape, idleShape, lifelines, outageShape } from "./shapes.js";

export class SvgRenderer {
  #svg;
  #layers = {};
  #drawn = new Map(); // an entry, bar, outage, or name of a shape: {json, element}
  #words = new WeakMap(); // an entry: its texts, until it changes
  #ys = new WeakMap(); // an entry: its y in the previous picture
  #entries = new WeakMap(); // an element: its entry

  constructor(svg) {
    this.#svg = svg;
    for (const name of ["lines", "bars", "idle-periods", "arrows", "outages"]) {
      this.#layers[name] = svgEl("g", { class: name });
      svg.append(this.#layers[name]);
    }
  }

  /** Draw the trace, and return the layout. */
  draw(trace, { width, em, now }) {
    const layout = layOut(trace, { width, em, now, previousY: (entry) => this.#ys.get(entry) });
    this.#svg.setAttribute("viewBox", `0 ${layout.top} ${width} ${layout.height}`);
    this.#svg.setAttribute("height", layout.height);
    const drawn = new Map();
    for (const [key, layer, shape] of this.#shapes(trace, layout, { em, now })) {
      drawn.set(key, this.#update(key, layer, shape));
    }
    for (const [key, { element }] of this.#drawn) if (!drawn.has(key)) element.remove();
    this.#drawn = drawn;
    for (const { entry, y } of layout.arrows) {
      this.#ys.set(entry, y);
      this.#entries.set(this.element(entry), entry);
    }
    return layout;
  }

  /** Mark the chosen entry, and those with bytes among these units. */
  mark(entries, chosen, units) {
    for (const entry of entries) {
      const { classList } = this.element(entry);
      classList.toggle("chosen", entry === chosen);
      classList.toggle("linked", entry.units.some((unit) => units.has(unit)));
    }
  }

  element(entry) {
    return this.#drawn.get(entry)?.element;
  }

  /** The entry that an element belongs to. */
  entryAt(element) {
    return this.#entries.get(element.closest(".arrow"));
  }

  *#shapes(trace, layout, { em, now }) {
    const { columns } = layout;
    yield ["lifelines", "lines", lifelines(layout)];
    for (const { bar, ...place } of layout.bars) yield [bar, "bars", barShape(bar, place, em)];
    for (const { outage, ...place } of layout.outages) {
      yield [outage, "outages", outageShape({ ...outage, to: outage.to ?? now }, place, columns, em)];
    }
    for (const period of layout.idlePeriods) {
      yield [`idle ${period.from}`, "idle-periods", idleShape(period, columns, em)];
    }
    for (const arrow of layout.arrows) {
      const words = this.#wordsOf(arrow.entry, trace.startedAt);
      yield [arrow.entry, "arrows", arrowShape(arrow, columns, em, words)];
    }
  }

  #wordsOf(entry, start) {
    const state = `${entry.count} ${entry.exchange?.oneWay} ${start}`;
    let words = this.#words.get(entry);
    if (words?.state === state) return words;
    words = {
      state, parts: label(entry), description: describe(entry, start), time: clock(entry.at, start),
    };
    this.#words.set(entry, words);
    return words;
  }

  #update(key, layer, shape) {
    const json = JSON.stringify(shape);
    const previous = this.#drawn.get(key);
    if (previous?.json === json) return previous;
    const element = build(shape);
    if (previous) previous.element.replaceWith(element);
    else this.#layers[layer].append(element);
    return { json, element };
  }
}

function build({ tag, text, parts = [], ...attributes }) {
  return svgEl(tag, attributes, ...(text === undefined ? [] : [text]), ...parts.map(build));
}
