// The sequence diagram as SVG.  Most of it stays from one picture to the next, and so do its elements:
// what is drawn as before is left alone, so that little is painted and a tooltip stays open.

import { layOut } from "./layout.js";
import { clock, describe, label } from "./retelling.js";
import { arrowShape, barShape, gapShape, lifelines, silenceShape } from "./shapes.js";

const SVG = "http://www.w3.org/2000/svg";

export class Picture {
  #svg;
  #layers = {};
  #drawn = new Map(); // a thing, bar, gap, silence or name: {looks, element}
  #words = new WeakMap(); // a thing: its words, until it changes
  #heights = new WeakMap(); // a thing: where it stood
  #things = new WeakMap(); // an element: its thing

  constructor(svg) {
    this.#svg = svg;
    for (const name of ["lines", "bars", "silences", "arrows", "gaps"]) {
      this.#layers[name] = make("g", { class: name });
      svg.append(this.#layers[name]);
    }
  }

  /** Draw the story as it is; the result is the layout. */
  draw(story, { width, em, now, chosen }) {
    const layout = layOut(story, { width, em, now, before: (thing) => this.#heights.get(thing) });
    this.#svg.setAttribute("viewBox", `0 ${layout.top} ${width} ${layout.height}`);
    this.#svg.setAttribute("height", layout.height);
    const drawn = new Map();
    for (const [key, layer, shape] of this.#shapes(story, layout, { em, now, chosen })) {
      drawn.set(key, this.#keep(key, layer, shape));
    }
    for (const [key, { element }] of this.#drawn) if (!drawn.has(key)) element.remove();
    this.#drawn = drawn;
    for (const { thing, y } of layout.arrows) {
      this.#heights.set(thing, y);
      this.#things.set(this.element(thing), thing);
    }
    return layout;
  }

  element(thing) {
    return this.#drawn.get(thing)?.element;
  }

  /** The thing that an element, or one around it, stands for. */
  thingAt(element) {
    return this.#things.get(element.closest(".arrow"));
  }

  *#shapes(story, layout, { em, now, chosen }) {
    const { columns } = layout;
    yield ["lifelines", "lines", lifelines(layout)];
    for (const { bar, ...place } of layout.bars) yield [bar, "bars", barShape(bar, place, em)];
    for (const { gap, ...place } of layout.gaps) {
      yield [gap, "gaps", gapShape({ ...gap, to: gap.to ?? now }, place, columns, em)];
    }
    for (const silence of layout.silences) {
      yield [`silence ${silence.from}`, "silences", silenceShape(silence, columns, em)];
    }
    for (const arrow of layout.arrows) {
      const shape = arrowShape(arrow, columns, em, this.#wordsOf(arrow.thing, story.zero));
      if (arrow.thing === chosen) shape.class += " chosen";
      yield [arrow.thing, "arrows", shape];
    }
  }

  #wordsOf(thing, zero) {
    const state = `${thing.count} ${thing.exchange?.transit} ${zero}`;
    let words = this.#words.get(thing);
    if (words?.state === state) return words;
    words = {
      state, parts: label(thing), told: describe(thing, zero), time: clock(thing.at, zero),
    };
    this.#words.set(thing, words);
    return words;
  }

  #keep(key, layer, shape) {
    const looks = JSON.stringify(shape);
    const before = this.#drawn.get(key);
    if (before?.looks === looks) return before;
    const element = build(shape);
    if (before) before.element.replaceWith(element);
    else this.#layers[layer].append(element);
    return { looks, element };
  }
}

// --- elements ------------------------------------------------------------------------------------

function build({ tag, parts = [], ...shape }) {
  const element = make(tag, shape);
  element.append(...parts.map(build));
  return element;
}

function make(tag, { text, ...attributes }) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
