// One chart for all transports: a dot per message, send time to the right, delay upwards.  One transport has
// its colour, the others are grey: nine colours at once are a cloud.  The names are radio buttons at the
// right edge, each at the height of its median.

import { el } from "../dom.js";
import { number, t } from "../i18n.js";
import { transportName } from "../page_layout.js";
import { prepare } from "./canvas.js";
import { positionOf, TICKS, tickText } from "./delay_scale.js";
import { milliseconds, setText } from "./figures.js";
import { spread } from "./spread.js";

const MAX_SECONDS = 60; // width of the plot …
const MIN_SECONDS = 10;
// … in which 20 messages a second are dots enough, and few enough to be drawn in a few milliseconds.
const MIN_INTERVAL = 0.045;
const DRAW_TICKS = 2;
const LABEL_HEIGHT = 26;
const MARGIN = { left: 62, right: 245, top: 14, bottom: 34 };
// On a phone the names are below the plot (lab.css).
const NARROW = matchMedia("(width < 56rem)");
const NARROW_MARGIN = 16;
const TIME_STEPS = [1, 2, 5, 10]; // seconds
// A short poll's delays fall from its interval to zero, again and again: the pattern to see first.
const FIRST = "short_polling";

export class LatencyChart {
  #canvas = el("canvas", "plot");
  #transports;
  #labels;
  #messages = new Map(); // id: {sentAt, delays: {transport: ms}}, in the order in which they arrived
  #lastKept = -Infinity;
  #highlighted = FIRST;
  #visible = false;
  #changed = true;
  #ticks = 0;

  constructor(element, transports) {
    this.#transports = transports;
    this.#canvas.setAttribute("role", "img");
    this.#canvas.setAttribute("aria-label", t("lab.chart_label"));
    const legend = el("legend", "sr-only", t("lab.chart_highlight"));
    this.#labels = new Map(transports.map((transport) => [transport, this.#label(transport)]));
    element.append(this.#canvas, el("fieldset", "labels", legend, ...this.#labels.values()));
    new IntersectionObserver((entries) => {
      this.#visible = entries.at(-1).isIntersecting;
      if (this.#visible) this.#draw();
    }).observe(element);
  }

  #label(transport) {
    const onchange = () => {
      this.#highlighted = transport;
      this.#draw();
    };
    const checked = transport === FIRST;
    const radio = el("input", { type: "radio", name: "highlighted", value: transport, checked, onchange });
    const label = el("label", "", radio, el("span", "", transportName(transport)), el("span", "median"));
    label.dataset.via = transport;
    return label;
  }

  /** `sentAt` is in seconds, `delay` in ms. */
  add(id, transport, sentAt, delay) {
    let message = this.#messages.get(id);
    if (!message) {
      if (sentAt - this.#lastKept < MIN_INTERVAL) return;
      this.#lastKept = sentAt;
      message = { sentAt, delays: {} };
      this.#messages.set(id, message);
      this.#forget(sentAt - MAX_SECONDS);
    }
    message.delays[transport] = delay;
    this.#changed = true;
  }

  #forget(before) {
    for (const [id, { sentAt }] of this.#messages) {
      if (sentAt >= before) return;
      this.#messages.delete(id);
    }
  }

  clear() {
    this.#messages.clear();
    this.#lastKept = -Infinity;
    this.#changed = true;
  }

  /** Draw now and then, if somebody can see it; without new messages for changes of size and theme. */
  draw() {
    this.#ticks += 1;
    if (!this.#visible || this.#ticks % (this.#changed ? DRAW_TICKS : 5 * DRAW_TICKS)) return;
    this.#changed = false;
    this.#draw();
  }

  // --- drawing -------------------------------------------------------------------------------------

  #draw() {
    const plot = new Plot(this.#canvas, [...this.#messages.values()]);
    plot.drawAxes();
    for (const transport of this.#transports) if (transport !== this.#highlighted) plot.drawDots(transport);
    const style = getComputedStyle(this.#labels.get(this.#highlighted));
    plot.drawDots(this.#highlighted, style.color);
    this.#placeLabels(plot);
  }

  #placeLabels(plot) {
    const wanted = this.#transports.map((transport) => ({ transport, median: plot.median(transport) }));
    const heights = spread(wanted.map(({ median }) => plot.yOf(median ?? 0)), LABEL_HEIGHT, plot.height - MARGIN.bottom);
    wanted.forEach(({ transport, median }, n) => {
      const label = this.#labels.get(transport);
      label.style.top = `${heights[n] - LABEL_HEIGHT / 2}px`;
      setText(label.querySelector(".median"), median === undefined ? "" : milliseconds(median));
      if (median !== undefined && !NARROW.matches) plot.drawLeader(median, heights[n]);
    });
  }
}

class Plot {
  #messages;
  #context;
  #colours;
  #from;
  #seconds;

  constructor(canvas, messages) {
    this.#messages = messages;
    const { context, width, height } = prepare(canvas);
    this.#context = context;
    this.height = height;
    this.right = width - (NARROW.matches ? NARROW_MARGIN : MARGIN.right);
    const { color: text, borderTopColor: line, outlineColor: dots, fontFamily } = getComputedStyle(canvas);
    this.#colours = { text, line, dots };
    context.font = `14px ${fontFamily}`;
    const times = messages.map(({ sentAt }) => sentAt);
    const last = times.length ? Math.max(...times) : MIN_SECONDS;
    const first = times.length ? Math.min(...times) : 0;
    this.#seconds = Math.max(MIN_SECONDS, last - first);
    this.#from = Math.max(0, last - this.#seconds);
  }

  yOf(delay) {
    const bottom = this.height - MARGIN.bottom;
    return bottom - positionOf(delay) * (bottom - MARGIN.top);
  }

  #xOf(seconds) {
    return MARGIN.left + ((seconds - this.#from) / this.#seconds) * (this.right - MARGIN.left);
  }

  median(transport) {
    const delays = this.#messages.map(({ delays: all }) => all[transport]).filter((delay) => delay !== undefined);
    return delays.sort((a, b) => a - b)[Math.ceil(delays.length / 2) - 1];
  }

  drawAxes() {
    for (const tick of TICKS) {
      const y = Math.round(this.yOf(tick));
      this.#line(MARGIN.left, y, this.right, y);
      this.#text(tickText(tick), MARGIN.left - 8, y + 5, "right");
    }
    const bottom = this.height - MARGIN.bottom;
    const step = TIME_STEPS.find((one) => this.#seconds / one <= 10) ?? 10;
    for (let at = Math.ceil(this.#from / step) * step; at <= this.#from + this.#seconds; at += step) {
      this.#line(this.#xOf(at), bottom, this.#xOf(at), bottom + 5);
      this.#text(number(at), this.#xOf(at), bottom + 20, "center");
    }
    if (!NARROW.matches) this.#text(t("lab.chart_time"), this.right + 16, bottom + 20, "left");
  }

  /** Grey without a colour. */
  drawDots(transport, colour) {
    const context = this.#context;
    context.fillStyle = colour ?? this.#colours.dots;
    const size = colour ? 5 : 3;
    for (const { sentAt, delays } of this.#messages) {
      const delay = delays[transport];
      if (delay === undefined) continue;
      context.fillRect(this.#xOf(sentAt) - size / 2, this.yOf(delay) - size / 2, size, size);
    }
  }

  /** A line from the median at the end of the plot to its label. */
  drawLeader(median, y) {
    this.#line(this.right + 2, this.yOf(median), this.right + 18, y);
  }

  #line(x1, y1, x2, y2) {
    this.#context.strokeStyle = this.#colours.line;
    this.#context.beginPath();
    this.#context.moveTo(x1, y1);
    this.#context.lineTo(x2, y2);
    this.#context.stroke();
  }

  #text(text, x, y, align) {
    this.#context.fillStyle = this.#colours.text;
    this.#context.textAlign = align;
    this.#context.fillText(text, x, y);
  }
}
