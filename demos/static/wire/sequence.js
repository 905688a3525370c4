// The sequence diagram of a transport's page: the captured traffic, drawn as it happens.  Time goes down,
// the browser is on the left, the server on the right.  This file decides when to draw and scroll, and
// which arrow is selected.

import { el } from "../dom.js";
import { t, translate } from "../i18n.js";
import { describe, duration, totals } from "./labels.js";
import { MIN_ONE_WAY } from "./layout.js";
import { RttEstimate } from "./rtt_estimate.js";
import { SvgRenderer } from "./svg_renderer.js";
import { Trace } from "./trace.js";
import { TraceBuilder } from "./trace_builder.js";

const DRAW_INTERVAL = 100; // ms: ten pictures a second are enough
const IDLE_INTERVAL = 1_000; // without new records, or while the diagram is out of view
const LISTED = 20;

const MARKUP = `
  <p class="small" data-i18n="sequence.idea">Drawn live, as the server’s socket saw it and by the
server’s clock. Time goes down; long idle times are shortened, bursts are stretched. A bar on the
server’s line is a request that waits, or a response that stays open; its number is the
connection’s.</p>
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
    <p class="nothing" data-i18n="sequence.nothing">Nothing has been sent yet.</p>
    <svg role="img" aria-label="Sequence diagram" data-i18n-aria-label="sequence.title">
      <pattern id="sequence-hatching" width="6" height="6" patternUnits="userSpaceOnUse">
        <path class="hatch" d="M0 6L6 0"></path>
      </pattern>
    </svg>
  </div>
  <p class="description" aria-live="polite"></p>
  <p class="small legend">
    <span class="transit"></span>
    <span id="sequence-keys" data-i18n="sequence.keys">Click on an arrow, or move with ↑ and ↓, to
read what it is.</span>
  </p>
  <details>
    <summary data-i18n="sequence.list">The latest, as a list</summary>
    <ol class="latest"></ol>
  </details>`;

/** Draw the records of `tap` in `element`, from now on. */
export function showSequence(element, tap) {
  element.classList.add("sequence");
  element.innerHTML = MARKUP;
  translate(element);
  new Sequence(element, tap);
}

class Sequence {
  #element;
  #box;
  #renderer;
  #rtt = new RttEstimate();
  #trace = new Trace();
  #builder = new TraceBuilder(this.#trace, this.#rtt);
  #layout;
  #chosen;
  #changed = true;
  #drawnAt = 0; // by performance.now()
  #paused = false;
  #inView = true;
  #following = true; // keep the end in view, until the user scrolls up
  #clockOffset = Infinity; // ms: this page's clock minus the server's, plus the delay of the tap

  constructor(element, tap) {
    this.#element = element;
    this.#box = this.#find(".box");
    this.#renderer = new SvgRenderer(this.#find("svg"));
    if (tap.secret === undefined) this.#find(".nothing").textContent = t("sequence.no_tap");
    tap.on((record) => this.#feed(record));
    this.#listen();
    this.#watch();
    this.#draw();
  }

  #find(selector) {
    return this.#element.querySelector(selector);
  }

  #feed(record) {
    const { at } = record;
    if (at !== undefined) this.#clockOffset = Math.min(this.#clockOffset, Date.now() - at);
    this.#builder.feed(record);
    this.#changed = true;
  }

  // --- drawing -----------------------------------------------------------------------------------

  #watch() {
    new PerformanceObserver((list) => {
      list.getEntries().forEach((timing) => this.#rtt.addTiming(timing));
      this.#changed = true;
    }).observe({ type: "resource", buffered: true });
    new ResizeObserver(() => { this.#changed = true; }).observe(this.#box);
    new IntersectionObserver(([{ isIntersecting }]) => {
      this.#inView = isIntersecting;
    }).observe(this.#box);
    document.addEventListener("visibilitychange", () => this.#tick());
    setInterval(() => this.#tick(), DRAW_INTERVAL);
  }

  #tick() {
    if (document.hidden || this.#paused) return;
    const interval = this.#changed && this.#inView ? DRAW_INTERVAL : IDLE_INTERVAL;
    // A timer may fire a little early, and the next one would then be late by a whole interval.
    if (performance.now() - this.#drawnAt >= interval - DRAW_INTERVAL / 4) this.#draw();
  }

  #draw() {
    this.#drawnAt = performance.now();
    const width = this.#box.clientWidth;
    if (!width) return; // the section is closed
    this.#changed = false;
    const em = parseFloat(getComputedStyle(this.#box).fontSize);
    const now = this.#trace.startedAt === undefined ? undefined : Date.now() - this.#clockOffset;
    const previousTop = this.#layout?.top ?? 0;
    this.#layout = this.#renderer.draw(this.#trace, { width, em, now, chosen: this.#chosen });
    if (this.#following) this.#box.scrollTop = this.#box.scrollHeight;
    else this.#box.scrollTop -= this.#layout.top - previousTop; // keep the position
    this.#drawWords();
  }

  #atEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.#box;
    return scrollHeight - scrollTop - clientHeight < clientHeight / 4;
  }

  #drawWords() {
    this.#find(".nothing").hidden = this.#trace.entries.length > 0;
    this.#find(".totals").textContent = totals(this.#trace.totals, document.body.dataset.transport);
    this.#find(".transit").textContent = this.#rttText();
    if (this.#find("details").open) this.#list();
  }

  #rttText() {
    const { oneWay } = this.#rtt;
    if (oneWay === undefined) return t("sequence.level");
    return t(oneWay < MIN_ONE_WAY ? "sequence.short" : "sequence.slope", { time: duration(2 * oneWay) });
  }

  #list() {
    const latest = this.#trace.entries.slice(-LISTED);
    const lines = latest.map((entry) => el("li", "", describe(entry, this.#trace.startedAt)));
    this.#find(".latest").replaceChildren(...lines);
  }

  // --- input -------------------------------------------------------------------------------------

  #listen() {
    this.#find(".pause").addEventListener("click", () => this.#pause(!this.#paused));
    this.#find(".clear").addEventListener("click", () => {
      this.#trace.clear();
      this.#choose(undefined);
      this.#draw();
    });
    this.#find("details").addEventListener("toggle", () => this.#drawWords());
    this.#box.addEventListener("click", ({ target }) => this.#choose(this.#renderer.entryAt(target)));
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
    const entries = this.#layout.arrows.map(({ entry }) => entry);
    if (!step || !entries.length) return;
    press.preventDefault();
    const current = entries.indexOf(this.#chosen);
    const last = entries.length - 1;
    const next = current < 0 ? last : Math.min(Math.max(current + step, 0), last);
    this.#choose(entries[next]);
    this.#renderer.element(entries[next]).scrollIntoView({ block: "nearest" });
  }

  #choose(entry) {
    this.#renderer.element(this.#chosen)?.classList.remove("chosen");
    this.#chosen = entry;
    this.#renderer.element(entry)?.classList.add("chosen");
    this.#find(".description").textContent = entry ? describe(entry, this.#trace.startedAt) : "";
    this.#changed = true;
  }
}
