// One chart for all transports: the delay of each message by time, one line per transport.
// uPlot is a classic script that set-up downloads; without it the page works without the chart.

import { el } from "../dom.js";
import { t } from "../i18n.js";
import { loadScript } from "../load_script.js";
import { TRANSPORTS } from "../page_layout.js";

const MAX_POINTS = 1_500;
const STYLE_SHEET = new URL("../../vendor/uplot/uPlot.min.css", import.meta.url);
// One man in twelve cannot tell some colours apart, so each line also has its own dash pattern.
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

export class LatencyChart {
  #element;
  #chart;
  #colours;
  #data = [[], ...TRANSPORTS.map(() => [])];
  #changed = false;

  constructor(element) {
    this.#element = element;
    this.#colours = new Colours(element);
  }

  /** Draw from now on; resolves with whether uPlot is there. */
  async start() {
    if (!(await loadUPlot())) return false;
    this.#chart = new uPlot(this.#options(), this.#data, this.#element);
    new ResizeObserver(() => this.#chart.setSize(this.#size())).observe(this.#element);
    const recolour = () => {
      this.#colours.clear();
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
    if (times.length > MAX_POINTS) this.#data.forEach((column) => column.shift());
    this.#changed = true;
  }

  draw() {
    if (this.#chart && this.#changed) this.#chart.setData(this.#data);
    this.#changed = false;
  }

  #size() {
    return { width: this.#element.clientWidth, height: Math.min(300, innerHeight * 0.4) };
  }

  #options() {
    const grid = { stroke: () => this.#colours.get("line"), width: 1 };
    const axis = { stroke: () => this.#colours.get("soft"), grid };
    const range = (chart, low, high) => [Math.min(low ?? 1, 0.5), Math.max(high ?? 10, 10)];
    return {
      ...this.#size(),
      // The legend shows the values of a point, so selecting a range would be of no use.
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
      stroke: () => this.#colours.get(transport),
      dash: DASHES[transport],
      width: 2,
      spanGaps: true,
      points: { show: false },
      value: (chart, ms) => (ms === null || ms === undefined ? "–" : `${ms.toFixed(1)} ms`),
    };
  }
}

// The browser resolves light-dark() only in a property of an element, so each colour has an invisible one.
class Colours {
  #swatches = new Map();
  #cache = new Map();

  constructor(element) {
    for (const name of ["soft", "line", ...TRANSPORTS]) {
      const swatch = el("i", `swatch ${name}`);
      swatch.dataset.via = name;
      element.append(swatch);
      this.#swatches.set(name, swatch);
    }
  }

  get(name) {
    if (!this.#cache.has(name)) this.#cache.set(name, getComputedStyle(this.#swatches.get(name)).color);
    return this.#cache.get(name);
  }

  clear() {
    this.#cache.clear();
  }
}

async function loadUPlot() {
  if (!(await loadScript("uplot/uPlot.iife.min.js", "uPlot"))) return false;
  document.head.append(el("link", { rel: "stylesheet", href: STYLE_SHEET }));
  return true;
}
