// The sequence diagram of a transport's page: what the tap sees, drawn as it happens.  Time goes
// down, the browser is on the left, the server on the right.  Here is the frame around it: when it
// is drawn, how it scrolls, and how one arrow is chosen.

import { translate, t } from "../words.js";
import { SHORT } from "./layout.js";
import { Picture } from "./picture.js";
import { describe, duration, totals } from "./retelling.js";
import { Story } from "./story.js";
import { Transit } from "./transit.js";
import { Witness } from "./witness.js";

const SOON = 100; // ms: ten pictures a second are enough
const LATER = 1_000; // while nothing happens, or nobody can see it
const LISTED = 20;

const MARKUP = `
  <p class="small" data-i18n="sequence.idea">Drawn as it happens, as the server’s socket saw it and
  by its clock. Time goes down; long silences are cut short, bursts are stretched. A bar on the
  server’s line is a question that is held, or an answer that stays open; its number tells which
  connection.</p>
  <p class="tools">
    <button type="button" class="pause" aria-pressed="false" data-i18n="sequence.pause">Pause</button>
    <button type="button" class="clear" data-i18n="sequence.clear">Clear</button>
    <span class="totals"></span>
  </p>
  <div class="ends" aria-hidden="true">
    <b data-i18n="sequence.browser">Browser</b> <b data-i18n="sequence.server">Server</b>
  </div>
  <div class="box" tabindex="0" role="group" aria-label="Sequence diagram" data-i18n-aria-label="sequence.title"
    aria-describedby="sequence-keys">
    <p class="nothing" data-i18n="sequence.nothing">Nothing has crossed the wire yet.</p>
    <svg role="img" aria-label="Sequence diagram" data-i18n-aria-label="sequence.title">
      <pattern id="sequence-hatching" width="6" height="6" patternUnits="userSpaceOnUse">
        <path class="hatch" d="M0 6L6 0"></path>
      </pattern>
    </svg>
  </div>
  <p class="told" aria-live="polite"></p>
  <p class="small legend">
    <span class="transit"></span>
    <span id="sequence-keys" data-i18n="sequence.keys">Click on an arrow, or go from one to the next
    with ↑ and ↓, to be told about it.</span>
  </p>
  <details>
    <summary data-i18n="sequence.list">The latest, as a list</summary>
    <ol class="latest"></ol>
  </details>`;

/** Draw in `element` what `tap` tells, from now on. */
export function showSequence(element, tap) {
  element.classList.add("sequence");
  element.innerHTML = MARKUP;
  translate(element);
  new Sequence(element, tap);
}

class Sequence {
  #element;
  #box;
  #picture;
  #transit = new Transit();
  #story = new Story();
  #witness = new Witness(this.#story, this.#transit);
  #layout;
  #chosen;
  #changed = true;
  #drawn = 0; // when, by performance.now()
  #paused = false;
  #inSight = true;
  #following = true; // the end, until somebody scrolls up
  #ahead = Infinity; // what the page's clock is ahead of the server's, and what a piece took to come

  constructor(element, tap) {
    this.#element = element;
    this.#box = this.#find(".box");
    this.#picture = new Picture(this.#find("svg"));
    if (tap.secret === undefined) this.#find(".nothing").textContent = t("sequence.no_tap");
    tap.on((piece) => this.#feed(piece));
    this.#listen();
    this.#watch();
    this.#draw();
  }

  #find(selector) {
    return this.#element.querySelector(selector);
  }

  #feed(piece) {
    if (piece.at !== undefined) this.#ahead = Math.min(this.#ahead, Date.now() - piece.at);
    this.#witness.feed(piece);
    this.#changed = true;
  }

  // --- when it is drawn --------------------------------------------------------------------------

  #watch() {
    new PerformanceObserver((list) => {
      list.getEntries().forEach((timing) => this.#transit.timed(timing));
      this.#changed = true;
    }).observe({ type: "resource", buffered: true });
    new ResizeObserver(() => { this.#changed = true; }).observe(this.#box);
    new IntersectionObserver(([{ isIntersecting }]) => {
      this.#inSight = isIntersecting;
    }).observe(this.#box);
    document.addEventListener("visibilitychange", () => this.#tick());
    setInterval(() => this.#tick(), SOON);
  }

  #tick() {
    if (document.hidden || this.#paused) return;
    const pause = this.#changed && this.#inSight ? SOON : LATER;
    // A timer may come a little early; the next would then be late by a whole turn.
    if (performance.now() - this.#drawn >= pause - SOON / 4) this.#draw();
  }

  #draw() {
    this.#drawn = performance.now();
    const width = this.#box.clientWidth;
    if (!width) return; // folded away
    this.#changed = false;
    const em = parseFloat(getComputedStyle(this.#box).fontSize);
    const now = this.#story.zero === undefined ? undefined : Date.now() - this.#ahead;
    const before = this.#layout?.top ?? 0;
    this.#layout = this.#picture.draw(this.#story, { width, em, now, chosen: this.#chosen });
    if (this.#following) this.#box.scrollTop = this.#box.scrollHeight;
    else this.#box.scrollTop -= this.#layout.top - before; // what is looked at stays
    this.#drawWords();
  }

  #atEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.#box;
    return scrollHeight - scrollTop - clientHeight < clientHeight / 4;
  }

  #drawWords() {
    this.#find(".nothing").hidden = this.#story.things.length > 0;
    this.#find(".totals").textContent = totals(this.#story.totals, document.body.dataset.transport);
    this.#find(".transit").textContent = this.#wayWords();
    if (this.#find("details").open) this.#list();
  }

  #wayWords() {
    const { oneWay } = this.#transit;
    if (oneWay === undefined) return t("sequence.level");
    return t(oneWay < SHORT ? "sequence.short" : "sequence.slope", { time: duration(2 * oneWay) });
  }

  #list() {
    const lines = this.#story.things.slice(-LISTED).map((thing) => {
      const line = document.createElement("li");
      line.textContent = describe(thing, this.#story.zero);
      return line;
    });
    this.#find(".latest").replaceChildren(...lines);
  }

  // --- what one can do with it -------------------------------------------------------------------

  #listen() {
    this.#find(".pause").addEventListener("click", () => this.#pause(!this.#paused));
    this.#find(".clear").addEventListener("click", () => {
      this.#story.clear();
      this.#choose(undefined);
      this.#draw();
    });
    this.#find("details").addEventListener("toggle", () => this.#drawWords());
    this.#box.addEventListener("click", ({ target }) => this.#choose(this.#picture.thingAt(target)));
    this.#box.addEventListener("keydown", (press) => this.#key(press));
    this.#box.addEventListener("scroll", () => { this.#following = this.#atEnd(); });
  }

  #pause(paused) {
    this.#paused = paused;
    const button = this.#find(".pause");
    button.setAttribute("aria-pressed", paused);
    button.textContent = t(paused ? "sequence.go_on" : "sequence.pause");
    if (!paused) this.#draw();
  }

  #key(press) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[press.key];
    const things = this.#layout.arrows.map(({ thing }) => thing);
    if (!step || !things.length) return;
    press.preventDefault();
    const here = things.indexOf(this.#chosen);
    const next = here < 0 ? things.length - 1 : Math.min(Math.max(here + step, 0), things.length - 1);
    this.#choose(things[next]);
    this.#picture.element(things[next]).scrollIntoView({ block: "nearest" });
  }

  #choose(thing) {
    this.#picture.element(this.#chosen)?.classList.remove("chosen");
    this.#chosen = thing;
    this.#picture.element(thing)?.classList.add("chosen");
    this.#find(".told").textContent = thing ? describe(thing, this.#story.zero) : "";
    this.#changed = true;
  }
}
