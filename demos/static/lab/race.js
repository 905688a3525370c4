// One chart races them all: the delay of each message, by time, a line per transport.
// uPlot is a classic script that set-up fetches; without it the page goes on without the chart.

import { library } from "../library.js";
import { make } from "../make.js";
import { TRANSPORTS } from "../skeleton.js";
import { t } from "../words.js";

const KEPT = 1_500; // arrivals
const SHEET = "/demos/vendor/uplot/uPlot.min.css";
// Colour alone tells nothing to one man in twelve: each line has a dash of its own, too.
const DASHES = {
  short_polling: [2, 3],
  long_polling: [7, 4],
  iframe_streaming: [10, 3, 2, 3],
  sse: [4, 2],
  fetch_streaming: [12, 6],
  websocket: [],
  sockjs: [1, 2],
  socketio: [14, 3, 3, 3],
};

export class Race {
  #element;
  #chart;
  #colours;
  #data = [[], ...TRANSPORTS.map(() => [])];
  #grown = false;

  constructor(element) {
    this.#element = element;
    this.#colours = new Colours(element);
  }

  /** Draw from now on; says whether there is a chart. */
  async begin() {
    if (!(await load())) return false;
    this.#chart = new uPlot(this.#options(), this.#data, this.#element);
    new ResizeObserver(() => this.#chart.setSize(this.#size())).observe(this.#element);
    const recolour = () => {
      this.#colours.forget();
      this.#chart.redraw();
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
    new MutationObserver(recolour).observe(document.documentElement, { attributes: true });
    return true;
  }

  add(at, transport, delay) {
    const [times, ...lines] = this.#data;
    times.push(at);
    lines.forEach((line, n) => line.push(TRANSPORTS[n] === transport ? delay : null));
    if (times.length > KEPT) this.#data.forEach((column) => column.shift());
    this.#grown = true;
  }

  clear() {
    this.#data.forEach((column) => column.splice(0));
    this.#grown = true;
  }

  draw() {
    if (this.#chart && this.#grown) this.#chart.setData(this.#data);
    this.#grown = false;
  }

  #size() {
    return { width: this.#element.clientWidth, height: Math.min(300, innerHeight * 0.4) };
  }

  #options() {
    const grid = { stroke: () => this.#colours.of("line"), width: 1 };
    const axis = { stroke: () => this.#colours.of("soft"), grid };
    const range = (chart, low, high) => [Math.min(low ?? 1, 0.5), Math.max(high ?? 10, 10)];
    return {
      ...this.#size(),
      // A point and what it means are in the legend, and in the panes' figures.
      cursor: { drag: { x: false, y: false } },
      scales: { x: { time: false }, y: { distr: 3, range } },
      axes: [
        { ...axis, values: (chart, ticks) => ticks.map((tick) => `${tick} s`) },
        { ...axis, size: 70, values: (chart, ticks) => ticks.map((tick) => tick && `${tick} ms`) },
      ],
      series: [{ label: t("lab.time") }, ...TRANSPORTS.map((transport) => this.#line(transport))],
    };
  }

  #line(transport) {
    return {
      label: transport,
      stroke: () => this.#colours.of(transport),
      dash: DASHES[transport],
      width: 2,
      spanGaps: true,
      points: { show: false },
      value: (chart, ms) => (ms === null || ms === undefined ? "–" : `${ms.toFixed(1)} ms`),
    };
  }
}

// light-dark() is resolved only where a property is used, so a swatch that nobody sees wears each.
class Colours {
  #swatches = new Map();
  #known = new Map();

  constructor(element) {
    for (const name of ["soft", "line", ...TRANSPORTS]) {
      const swatch = document.createElement("i");
      swatch.className = `swatch ${name}`;
      swatch.dataset.via = name;
      element.append(swatch);
      this.#swatches.set(name, swatch);
    }
  }

  of(name) {
    if (!this.#known.has(name)) {
      this.#known.set(name, getComputedStyle(this.#swatches.get(name)).color);
    }
    return this.#known.get(name);
  }

  forget() {
    this.#known.clear();
  }
}

async function load() {
  if (!(await library("uplot/uPlot.iife.min.js", "uPlot"))) return false;
  document.head.append(Object.assign(make("link"), { rel: "stylesheet", href: SHEET }));
  return true;
}
