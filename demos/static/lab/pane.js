// One transport of the lab: its connection, its latest messages, and its figures.
// Messages are counted as they arrive and drawn ten times a second, and only what has changed is drawn: the
// page must not be the bottleneck.

import { el } from "../dom.js";
import { number, t } from "../i18n.js";
import { person } from "../log.js";
import { transportLabel } from "../page_layout.js";
import { Audit } from "./audit.js";
import { Delays } from "./delays.js";
import { drawScatterPlot, SECONDS } from "./scatter_plot.js";

const MAX_LINES = 3;
const IDLE_TICKS = 10; // an empty plot is drawn at every tenth tick, for changes of size and theme

const PANE = `
  <h2><label><input type="checkbox" class="on" checked> <span class="label"></span></label>
    <span class="state"><span class="state-text"></span></span> <a class="page"></a></h2>
  <ol class="said"></ol>
  <canvas class="dots" role="img"></canvas>
  <dl class="figures"></dl>
  <dl class="audit figures"></dl>
  <p class="gaps" role="status"></p>`;

// The delay and the cost of the transport, and whether all events arrived.
const FIGURES = ["p50", "p95", "p99", "open", "down", "up", "each", "requests"];
const FAULTS = ["missing", "duplicated", "reordered"];
const AUDIT = ["received", "inFlight", "missing", "duplicated", "reordered"];

export class Pane {
  #lab;
  #connect;
  #connection;
  #base;
  #cursor;
  #shown = new Set();
  #latest = [];
  #fields = {};
  #traffic = {};
  #ticks = 0;
  #changed = true; // since the last drawing
  #quantiles;
  state = "off";
  errorMessage = "";

  /** `lab` is {room, client, name, setting, checker, now(), delayOf(event), onEvent(event, pane)}. */
  constructor(transport, connect, lab) {
    this.transport = transport;
    this.#connect = connect;
    this.#lab = lab;
    this.audit = new Audit(lab.checker);
    this.delays = new Delays();
    this.element = this.#build();
  }

  #build() {
    const element = el("section", { className: "pane", innerHTML: PANE });
    element.dataset.transport = this.transport;
    element.querySelector(".label").append(transportLabel(this.transport));
    const page = element.querySelector(".page");
    page.href = `../demos/${this.transport}.html${location.search}`;
    page.textContent = t("lab.more");
    page.setAttribute("aria-label", t("lab.more_about", { transport: this.transport }));
    element.querySelector(".dots").setAttribute("aria-label", t("lab.dots"));
    element.setAttribute("aria-label", this.transport);
    const [figures, audit] = element.querySelectorAll("dl");
    for (const name of FIGURES) this.#fields[name] = figure(figures, name);
    for (const name of AUDIT) this.#fields[name] = figure(audit, name);
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
    this.state = "off";
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
      onState: (state, { error } = {}) => {
        this.state = state;
        this.errorMessage = error?.message ?? "";
      },
      client, name, setting,
    });
  }

  #show(event) {
    this.#cursor = event.cursor;
    if (event.kind === "gap") this.audit.gap();
    else this.audit.show(event);
    const delay = this.#lab.delayOf(event);
    if (delay !== undefined) this.delays.add(this.#lab.now(), delay);
    this.#changed = true;
    this.#latest.push({ event, delay });
    if (this.#latest.length > MAX_LINES) this.#latest.shift();
    this.#lab.onEvent(event, this, delay);
  }

  // --- drawing -----------------------------------------------------------------------------------

  /** Take the byte counts of this client, as `/wire` reports them. */
  setTraffic(row) {
    this.#traffic = row ?? {};
  }

  draw() {
    const state = this.element.querySelector(".state");
    state.dataset.state = this.state;
    const text = t(`lab.state.${this.state}`, { trouble: this.errorMessage });
    setText(state.querySelector(".state-text"), text);
    if (this.#changed) {
      this.element.querySelector(".said").replaceChildren(...this.#latest.map(line));
      this.#quantiles = this.delays.quantiles(0.5, 0.95, 0.99).map(milliseconds);
    }
    this.#drawFigures();
    this.#drawAudit();
    this.#drawPlot();
    this.#changed = false;
  }

  #drawPlot() {
    const { points } = this.delays;
    const now = this.#lab.now();
    const moving = points.length > 0 && now - points.at(-1).at <= SECONDS;
    if (!moving && this.#ticks++ % IDLE_TICKS) return;
    drawScatterPlot(this.element.querySelector(".dots"), points, now);
  }

  #drawFigures() {
    const [p50, p95, p99] = this.#quantiles;
    const { bytes_in: up = 0, bytes_out: down = 0, requests = 0, events = 0, open = 0 } = this.#traffic;
    const each = events ? bytes((up + down) / events) : "–";
    const values = { p50, p95, p99, down: bytes(down), up: bytes(up), requests: number(requests), each, open };
    for (const name of FIGURES) setText(this.#fields[name], values[name]);
  }

  #drawAudit() {
    for (const name of AUDIT) {
      setText(this.#fields[name], number(this.audit[name]));
      this.#fields[name].dataset.wrong = FAULTS.includes(name) && this.audit[name] > 0;
    }
    const { gaps } = this.audit;
    setText(this.element.querySelector(".gaps"), gaps ? t("lab.gaps", { gaps }) : "");
  }
}

function figure(list, name) {
  const value = el("dd");
  list.append(el("div", `figure ${name}`, el("dt", "", t(`lab.figure.${name}`)), value));
  return value;
}

function line({ event, delay }) {
  const item = el("li");
  item.dataset.kind = event.kind;
  if (event.id) item.dataset.id = event.id;
  if (event.kind === "gap") {
    item.textContent = t(`lab.gap.${event.reason}`, { missed: event.missed ?? "?" });
    return item;
  }
  const text = el("bdi", "text", event.kind === "say" ? event.text : t(`lab.${event.kind}`));
  const took = el("span", "took", delay === undefined ? "" : milliseconds(delay));
  item.append(person(event.name), " ", text, took);
  return item;
}

function milliseconds(value) {
  if (value === undefined) return "–";
  if (value < 999.5) return `${number(value, digits(value < 10 ? 1 : 0))} ms`;
  return `${number(value / 1000, digits(value < 10_000 ? 2 : 1))} s`;
}

function digits(count) {
  return { minimumFractionDigits: count, maximumFractionDigits: count };
}

function bytes(value) {
  if (value < 10_000) return `${number(value, digits(0))} B`;
  if (value < 1_000_000) return `${number(value / 1000, digits(1))} kB`;
  return `${number(value / 1_000_000, digits(2))} MB`;
}

function setText(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}
