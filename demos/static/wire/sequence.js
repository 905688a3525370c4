// The sequence diagram of a transport's page: the captured traffic, drawn as it happens.  Time goes down,
// the browser is on the left, the server on the right.  This file decides when to draw and scroll, and
// which arrow is selected.

import { el } from "../dom.js";
import { FollowingBox } from "../following_box.js";
import { t, translate } from "../i18n.js";
import { describe, duration, totals } from "./labels.js";
import { MIN_ONE_WAY } from "./layout.js";
import { asOf } from "./player.js";
import { RttEstimate } from "./rtt_estimate.js";
import { SvgRenderer } from "./svg_renderer.js";
import { Trace } from "./trace.js";
import { TraceBuilder } from "./trace_builder.js";

const DRAW_INTERVAL = 100; // ms: ten pictures a second are enough
const IDLE_INTERVAL = 1_000; // without new records, or while the diagram is out of view
const LISTED = 20;
const MAX_FILE_ENTRIES = 1_000; // of a capture file; a live diagram keeps fewer (trace.js)

const MARKUP = `
  <div class="view-head"><h2 data-i18n="part.sequence">Sequence diagram</h2> <p class="totals"></p></div>
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
  <details class="small">
    <summary data-i18n="sequence.how">How to read it; the latest as a list</summary>
    <p id="sequence-keys" data-i18n="sequence.keys">Point at an arrow, click on it, or move with ↑ and ↓:
its bytes and its message are marked.</p>
    <p data-i18n="sequence.idea">Drawn live, as the server’s socket saw it and by the server’s clock.
Time goes down; long idle times are shortened, bursts are stretched. A bar on the server’s line is a
request that waits, or a response that stays open; its number is the connection’s.</p>
    <p class="transit"></p>
    <ol class="latest"></ol>
  </details>`;

export class Sequence {
  #element;
  #box;
  #links;
  #renderer;
  #rtt;
  #trace;
  #builder;
  #isFile; // nothing is added any more, so no time passes after the last arrow
  #layout;
  #chosen;
  #linked = new Set(); // units
  #player;
  #changed = true;
  #drawnAt = 0; // by performance.now()
  #inView = true;
  #scroll;
  #clockOffset = Infinity; // ms: this page's clock minus the server's, plus the delay of the tap

  /**
   * Draw in `element`.  The selection is shared with the other views through `links`.  `root` is the path at which
   * the server is, or undefined without a server.
   */
  constructor(element, { links, root }) {
    this.#begin(false);
    this.#element = element;
    element.classList.add("sequence");
    element.innerHTML = MARKUP;
    translate(element);
    this.#box = this.#find(".box");
    this.#scroll = new FollowingBox(this.#box, 100);
    this.#links = links;
    this.#renderer = new SvgRenderer(this.#find("svg"));
    if (root === undefined) this.#find(".nothing").textContent = t("capture.nothing");
    this.#listen();
    this.#watch(root);
    this.#draw();
  }

  get entries() {
    return this.#trace.entries;
  }

  feed(record) {
    const { at } = record;
    if (at !== undefined) this.#clockOffset = Math.min(this.#clockOffset, Date.now() - at);
    this.#builder.feed(record);
    this.#changed = true;
  }

  /** Show what had happened at the player's time; while it is not live, its last arrow is selected. */
  play(player) {
    this.#player = player;
    this.#select(player.state === "live" ? undefined : player.entry);
    this.#draw();
    if (player.state === "live") this.#scroll.restart();
    else this.#hold(player.entry);
  }

  clear() {
    this.#trace.clear();
    this.#select(undefined);
    this.#draw();
  }

  /** Start again with nothing: next come the records of a capture file, or of the live traffic. */
  reset({ isFile }) {
    this.#begin(isFile);
    this.#find(".nothing").textContent = t(isFile ? "capture.not_drawn" : "sequence.nothing");
    this.#select(undefined);
    this.#draw();
    if (isFile) this.#scroll.toStart();
    else this.#scroll.restart();
  }

  #begin(isFile) {
    this.#isFile = isFile;
    this.#rtt = new RttEstimate();
    this.#trace = new Trace(isFile ? MAX_FILE_ENTRIES : undefined);
    this.#builder = new TraceBuilder(this.#trace, this.#rtt);
    this.#clockOffset = Infinity;
  }

  #find(selector) {
    return this.#element.querySelector(selector);
  }

  // --- drawing -----------------------------------------------------------------------------------

  #watch(root) {
    if (root !== undefined) {
      new PerformanceObserver((list) => {
        list.getEntries().forEach((timing) => this.#rtt.addTiming(timing, root));
        this.#changed = true;
      }).observe({ type: "resource", buffered: true });
    }
    new ResizeObserver(() => {
      if (!document.hidden) this.#draw();
    }).observe(this.#box);
    new IntersectionObserver(([{ isIntersecting }]) => {
      this.#inView = isIntersecting;
    }).observe(this.#box);
    document.addEventListener("visibilitychange", () => this.#tick());
    setInterval(() => this.#tick(), DRAW_INTERVAL);
  }

  get #isLive() {
    return this.#player === undefined || this.#player.state === "live";
  }

  #tick() {
    if (document.hidden || !this.#isLive) return;
    const interval = this.#changed && this.#inView ? DRAW_INTERVAL : IDLE_INTERVAL;
    // A timer may fire a little early, and the next one would then be late by a whole interval.
    if (performance.now() - this.#drawnAt >= interval - DRAW_INTERVAL / 4) this.#draw();
  }

  #draw() {
    this.#drawnAt = performance.now();
    const width = this.#box.clientWidth;
    if (!width) return; // the view is hidden
    this.#changed = false;
    const em = parseFloat(getComputedStyle(this.#box).fontSize);
    const started = this.#trace.startedAt !== undefined;
    const now = this.#isLive && started && !this.#isFile ? Date.now() - this.#clockOffset : undefined;
    const trace = asOf(this.#trace, this.#player?.time ?? Infinity);
    const previousTop = this.#layout?.top ?? 0;
    this.#layout = this.#renderer.draw(trace, { width, em, now });
    this.#mark();
    this.#scroll.shift(previousTop - this.#layout.top);
    this.#scroll.follow();
    this.#drawWords();
  }

  #mark() {
    const entries = this.#layout?.arrows.map(({ entry }) => entry) ?? [];
    this.#renderer.mark(entries, this.#chosen, this.#linked);
    return entries;
  }

  #hold(entry) {
    this.#scroll.hold(this.#renderer.element(entry));
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

  // --- the selection -----------------------------------------------------------------------------

  #listen() {
    this.#find("details").addEventListener("toggle", () => this.#drawWords());
    this.#box.addEventListener("click", ({ target }) => this.#select(this.#renderer.entryAt(target)));
    this.#box.addEventListener("keydown", (press) => this.#key(press));
    let hovered;
    const hover = ({ type, target }) => {
      const entry = type === "pointerleave" ? undefined : this.#renderer.entryAt(target);
      if (entry === hovered) return;
      hovered = entry;
      this.#links.hover(this, entry && { units: entry.units });
    };
    this.#box.addEventListener("pointerover", hover);
    this.#box.addEventListener("pointerleave", hover);
    this.#links.on(({ source, units }) => this.#highlight(source, units));
  }

  // What is marked must not move away, so the diagram does not follow new arrows meanwhile.
  #highlight(source, units) {
    this.#linked = units;
    const linked = this.#mark().find((entry) => entry.units.some((unit) => units.has(unit)));
    if (units.size) this.#hold(source === this ? undefined : linked);
    else this.#scroll.release();
  }

  #key(press) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[press.key];
    const entries = this.#layout.arrows.map(({ entry }) => entry);
    if (!step || !entries.length) return;
    press.preventDefault();
    const current = entries.indexOf(this.#chosen);
    const last = entries.length - 1;
    const next = current < 0 ? last : Math.min(Math.max(current + step, 0), last);
    this.#select(entries[next]);
    this.#hold(entries[next]);
  }

  #select(entry) {
    this.#chosen = entry;
    this.#find(".description").textContent = entry ? describe(entry, this.#trace.startedAt) : "";
    this.#links.select(this, entry && { units: entry.units });
  }
}
