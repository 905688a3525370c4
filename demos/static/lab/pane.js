// One transport of the lab: its connection, its latest message, and its figures.
// A message after a pause is drawn in the next frame.  Of many only the latest is drawn, four times a second, and
// only what has changed: the page must not be the bottleneck.

import { el } from "../dom.js";
import { explain, t } from "../i18n.js";
import { person } from "../log.js";
import { transportName } from "../page_layout.js";
import { Audit } from "./audit.js";
import { drawDelayStrip } from "./delay_strip.js";
import { Delays } from "./delays.js";
import { Details } from "./details.js";
import { bytes, milliseconds, ratio, setText } from "./figures.js";
import { TrafficCounts } from "./traffic_counts.js";

const STRIP_DELAYS = 40;
// Drawings between two of the strip, the most expensive part; an unchanged one is drawn less often, for changes
// of size and theme.
const STRIP_TICKS = 2;
const IDLE_STRIP_TICKS = 5;
const PAUSE = 0.25; // s without an event, after which the next one is drawn at once
// Seconds after which the page says what it does not know.
const QUIET_RESPONSE = 3; // s: less than an iframe waits for its first byte
const LATE = 3;

const PANE = `
  <input type="checkbox" class="on" checked>
  <h2 class="name"><a class="page"></a></h2>
  <p class="state"><span class="state-text"></span></p>
  <p class="said"></p>
  <p class="note"></p>
  <canvas class="strip" role="img"></canvas>
  <dl class="figures"></dl>
  <p class="audit"><span class="verdict"></span> <span class="sr-only"></span></p>`;

// The figures of a row; all others are in its details.
const FIGURES = ["p50", "bytes_each", "requests_each"];
const FAULTS = ["missing", "duplicated", "reordered"];

export class Pane {
  #lab;
  #connect;
  #connection;
  #base;
  #cursor;
  #shown = new Set();
  #latest; // {event, delay}
  #lastGap = "";
  #fields = {};
  #details;
  #traffic = new TrafficCounts();
  #stateSince = 0;
  #retryAt; // when the next attempt starts, in the seconds of now()
  #ticks = 0;
  #eventAt = -Infinity; // the latest event, in the seconds of now()
  #changed = true; // since the last drawing
  #stripChanged = true;
  #quantiles = [];
  state = "off";
  errorMessage = "";

  /** `lab` is {room, client, name, setting, checker, now(), delayOf(event), onEvent(event, pane),
   *  drawSoon(pane)}. */
  constructor(transport, connect, lab) {
    this.transport = transport;
    this.#connect = connect;
    this.#lab = lab;
    this.name = transportName(transport);
    this.audit = new Audit(lab.checker);
    this.delays = new Delays();
    this.element = this.#build();
  }

  #build() {
    const element = el("article", { className: "pane", innerHTML: PANE });
    element.dataset.transport = this.transport;
    element.setAttribute("aria-label", this.name);
    element.querySelector(".on").setAttribute("aria-label", t("lab.switch", { transport: this.name }));
    const page = element.querySelector(".page");
    page.href = `../demos/${this.transport}.html${location.search}`;
    page.textContent = this.name;
    element.querySelector(".strip").setAttribute("aria-label", t("lab.strip"));
    for (const name of FIGURES) this.#fields[name] = figure(element.querySelector("dl"), name);
    this.#details = new Details(this.name, page.href);
    element.append(...this.#details.elements);
    return element;
  }

  get on() {
    return this.element.querySelector(".on");
  }

  // --- the connection ----------------------------------------------------------------------------

  /** Connect at `cursor`, the latest event of any pane; `base` is the port to use. */
  start(base, cursor) {
    this.#base = base;
    this.#cursor = cursor;
    this.audit.restart();
    this.#open();
  }

  /** Continue at the same cursor through another port. */
  move(base) {
    this.#base = base;
    if (this.#connection) this.#open();
  }

  stop() {
    this.#connection?.close();
    this.#connection = undefined;
    this.#setState("off");
  }

  /** Start all figures from zero; the connection stays. */
  clear() {
    this.audit.restart();
    this.delays.clear();
    this.#traffic.clear();
    this.#lastGap = "";
    this.#changed = true;
  }

  #open() {
    this.#connection?.close();
    const { room, client, name, setting } = this.#lab;
    this.#connection = this.#connect(room, {
      after: this.#cursor,
      shown: this.#shown,
      base: this.#base,
      onEvent: (event) => this.#show(event),
      onRepeat: () => this.audit.repeat(),
      onState: (state, detail) => this.#setState(state, detail),
      client, name, setting,
    });
  }

  #setState(state, { error, seconds } = {}) {
    const now = this.#lab.now();
    this.state = state;
    this.#stateSince = now;
    this.#retryAt = seconds === undefined ? undefined : now + seconds;
    this.errorMessage = error ? explain(error) : "";
  }

  #show(event) {
    this.#cursor = event.cursor;
    if (event.kind === "gap") this.#showGap(event);
    else this.audit.show(event);
    const delay = this.#lab.delayOf(event);
    if (delay !== undefined) this.delays.add(delay);
    // In a class people come and go all the time: their joins must not replace a message.
    if (event.kind === "say" || this.#latest?.event.kind !== "say") this.#latest = { event, delay };
    this.#changed = true;
    this.#lab.onEvent(event, this, delay);
    const now = this.#lab.now();
    if (now - this.#eventAt > PAUSE) this.#lab.drawSoon(this);
    this.#eventAt = now;
  }

  #showGap(event) {
    this.audit.gap();
    this.#lastGap = t(`lab.gap.${event.reason}`, { missed: event.missed ?? "?" });
  }

  // --- drawing -----------------------------------------------------------------------------------

  /** Take the byte counts of this client, as `/wire` reports them. */
  setTraffic(row) {
    this.#traffic.set(row);
  }

  draw() {
    const now = this.#lab.now();
    const late = this.#lateBy(now);
    this.#drawState(now, late);
    setText(this.element.querySelector(".note"), this.#note(now, late));
    if (this.#changed) {
      this.#drawLatest();
      this.#quantiles = this.delays.quantiles(0.5, 0.95, 0.99);
    }
    this.#drawFigures();
    this.#drawAudit();
    this.#stripChanged ||= this.#changed;
    this.#changed = false;
  }

  /** Draw the strip in some of the calls. */
  drawStrip() {
    if (this.#ticks++ % (this.#stripChanged ? STRIP_TICKS : IDLE_STRIP_TICKS)) return;
    const delays = this.delays.last(STRIP_DELAYS);
    drawDelayStrip(this.element.querySelector(".strip"), delays, this.#quantiles[0]);
    this.#stripChanged = false;
  }

  // Seconds for which an open connection has delivered nothing although the other panes have more; 0 for a
  // delay that has a known reason: a short poll waits for its interval.
  #lateBy(now) {
    const seconds = this.audit.lateBy(now);
    const expected = this.transport === "short_polling" ? Number(this.#lab.setting("interval")) : 0;
    return this.state === "open" && seconds > LATE + expected ? seconds : 0;
  }

  #drawState(now, late) {
    const element = this.element.querySelector(".state");
    element.dataset.state = late ? "late" : this.state;
    setText(element.firstElementChild, this.#stateText(now, late));
  }

  #stateText(now, late) {
    if (late) return t("lab.state.late");
    if (this.#retryAt === undefined) return t(`lab.state.${this.state}`);
    return t("lab.state.retry", { seconds: Math.max(0, Math.ceil(this.#retryAt - now)) });
  }

  // What the page knows beyond the state, and what it does not know.
  #note(now, late) {
    const quiet = now - this.#stateSince;
    if (this.errorMessage) return this.errorMessage;
    if (this.state === "connecting" && quiet > QUIET_RESPONSE) {
      return t("lab.note.quiet", { seconds: Math.floor(quiet) });
    }
    if (!late) return this.#lastGap;
    const how = this.transport === "iframe_streaming" ? "lab.note.late_frame" : "lab.note.late";
    return t(how, { seconds: Math.floor(late) });
  }

  #drawLatest() {
    if (!this.#latest) return;
    const { event, delay } = this.#latest;
    const element = this.element.querySelector(".said");
    element.dataset.kind = event.kind;
    element.dataset.id = event.id ?? "";
    if (event.kind === "gap") return element.replaceChildren();
    const text = el("bdi", "text", event.kind === "say" ? event.text : t(`lab.${event.kind}`));
    const took = el("span", "took", delay === undefined ? "" : milliseconds(delay));
    element.replaceChildren(person(event.name), " ", text, " ", took);
  }

  #drawFigures() {
    const names = ["bytes_in", "bytes_out", "requests", "events"];
    const [up, down, requests, events] = names.map((name) => this.#traffic.since(name));
    const [p50, p95, p99] = this.#quantiles.map(milliseconds);
    const values = {
      p50, p95, p99,
      bytes_each: events ? bytes((up + down) / events) : "–",
      requests_each: requestsText(requests, events),
      open: this.#traffic.open, down: bytes(down), up: bytes(up), requests,
    };
    for (const name of FIGURES) setText(this.#fields[name], values[name]);
    this.#details.show(values, this.audit);
  }

  #drawAudit() {
    const { audit } = this;
    const element = this.element.querySelector(".audit");
    const [verdict, words] = judge(audit);
    element.dataset.verdict = verdict;
    setText(element.firstElementChild, words);
    const label = verdict === "complete" ? t("lab.audit.all", { received: audit.received }) : "";
    setText(element.lastElementChild, label);
  }
}

/** What an audit says: complete, pending, wrong or empty; and its mark, or words. */
function judge(audit) {
  const faults = FAULTS.filter((name) => audit[name] > 0);
  if (faults.length) return ["wrong", faults.map((name) => t(`lab.audit.${name}`, { count: audit[name] })).join(", ")];
  if (audit.inFlight) return ["pending", t("lab.audit.pending", { count: audit.inFlight })];
  return audit.received ? ["complete", "✓"] : ["empty", "–"];
}

function figure(list, name) {
  const value = el("dd");
  list.append(el("div", `figure ${name}`, el("dt", "", t(`lab.figure.${name}`)), value));
  return value;
}

// "1 per 4", since nobody reads 0.25 requests.
function requestsText(requests, events) {
  if (!events) return "–";
  if (requests >= events || !requests) return ratio(requests / events);
  return t("lab.one_per", { messages: ratio(events / requests) });
}
