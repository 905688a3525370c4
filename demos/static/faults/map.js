// The map: a card for each part with its state and its buttons, and lines for the links between them.
// A line only repeats what the cards say in words, so it is hidden from screen readers and on phones.

import { el, svgEl } from "../dom.js";
import { t } from "../i18n.js";

const BROWSERS = "clients"; // as a target; also the id of this page's own card
const SYMBOLS = { up: "●", down: "✕", frozen: "◌", starting: "◌", waiting: "◌" };
// Which card has the buttons of a target that is no part.
const PLACES = { pubsub: "redis" };

export class SystemMap {
  #element;
  #onFault;
  #cards = new Map(); // id: {card, state, links, buttons}
  #lines = []; // [from, to, line]
  #drawn; // what the elements were made for

  /** `onFault(kind, target)` is called for a click; without it there are no buttons. */
  constructor(element, onFault) {
    this.#element = element;
    this.#onFault = onFault;
  }

  /** Show the server's report, and `readers`, the state of this page's own connections. */
  show(report, readers) {
    const parts = [{ id: BROWSERS, kind: "browsers", ...readers }, ...report.parts];
    const links = [...entryLinks(report, readers.state), ...report.links];
    const shape = JSON.stringify([parts.map(({ id }) => id), report.controls]);
    if (shape !== this.#drawn) this.#draw(parts, links, report.controls);
    this.#drawn = shape;
    for (const part of parts) this.#showPart(part, links);
    for (const [from, to, line] of this.#lines) line.dataset.state = stateOf(links, from, to);
    this.#showBusy(report);
  }

  #draw(parts, links, controls) {
    this.#cards.clear();
    this.#lines = [];
    this.#element.replaceChildren();
    let previous;
    for (const kind of ["browsers", "nginx", "server", "worker", "redis"]) {
      const column = parts.filter((part) => part.kind === kind);
      if (!column.length) continue;
      if (previous) this.#element.append(this.#linkColumn(previous, column, links));
      this.#element.append(el("div", "column", ...column.map((part) => this.#card(part, controls))));
      previous = column;
    }
  }

  #card({ id, kind }, controls) {
    const name = kind === "worker" ? id : t(`faults.part.${kind}`);
    const fields = { state: el("p", "state"), links: el("p", "links"), buttons: [] };
    const row = el("div", "buttons");
    const own = controls.filter(({ target }) => (PLACES[target] ?? target) === id);
    for (const { kind: fault, target } of this.#onFault ? own : []) {
      const key = id === target ? fault : `${fault}_${target}`;
      const button = el("button", { type: "button", textContent: t(`faults.do.${key}`) });
      button.setAttribute("aria-label", t("faults.do_at", { what: button.textContent, part: name }));
      button.addEventListener("click", () => {
        if (button.ariaDisabled !== "true") this.#onFault(fault, target);
      });
      fields.buttons.push([target, button]);
      row.append(button);
    }
    const card = el("div", "card", el("h3", "", name), fields.state, fields.links, row);
    card.dataset.kind = kind;
    this.#cards.set(id, { card, ...fields });
    return card;
  }

  // From one part to many, or from many to one, drawn from the middle of each card.
  #linkColumn(from, to, links) {
    const svg = svgEl("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
    const middle = (i, all) => (100 * (i + 0.5)) / all.length;
    from.forEach((one, i) => to.forEach((other, j) => {
      if (!links.some((link) => link.from === one.id && link.to === other.id)) return;
      const line = svgEl("line", { x1: 0, y1: middle(i, from), x2: 100, y2: middle(j, to) });
      this.#lines.push([one.id, other.id, line]);
      svg.append(line);
    }));
    return svg;
  }

  #showPart({ id, label, state, text }, links) {
    const { card, ...fields } = this.#cards.get(id);
    card.dataset.state = state;
    const words = `${SYMBOLS[state]} ${text ?? t(`faults.state.${state}`)}`;
    setText(fields.state, words);
    const seen = links.filter((link) => link.to === id && link.from === "nginx" || link.from === id && link.to === "redis");
    const lines = seen.map((link) => t(link.from === id ? "faults.to_redis" : "faults.from_nginx", {
      state: t(`faults.link.${link.state}`),
    }));
    setText(fields.links, label ?? lines.join(" · "));
  }

  #showBusy({ faults }) {
    const busy = faults.filter(({ state }) => state === "active" || state === "healing");
    for (const { buttons } of this.#cards.values()) {
      for (const [target, button] of buttons) {
        button.ariaDisabled = String(busy.some((fault) => fault.target === target));
      }
    }
  }
}

// The server does not know this page's connections: the state of these links is ours.
function entryLinks({ parts }, state) {
  const doors = parts.filter(({ kind }) => kind === "nginx" || kind === "server");
  const entries = doors.length ? doors : parts.filter(({ kind }) => kind === "worker");
  return entries.map((part) => ({ from: BROWSERS, to: part.id, state: part.state === "up" ? state : "down" }));
}

function stateOf(links, from, to) {
  return links.find((link) => link.from === from && link.to === to)?.state;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
