// The lesson of WebTransport: head-of-line blocking, measured on a lossy line and explained packet by packet.

import { ApiError } from "../api.js";
import { el, svgEl } from "../dom.js";
import { number, t } from "../i18n.js";
import { whyUnavailable } from "../available.js";
import { delayFigures, drawDelayLanes } from "./delay_lanes.js";
import { drawDeliveries, MODES, PACKETS } from "./head_of_line.js";
import { failure, fillLesson, leaseNetwork, onClick, oncePerFrame, requireNetworks, row } from "./helpers.js";
import { conditions, COUNT, LANES, ROUND_TRIP, sendOverLossyLine } from "./lossy_line.js";

const LOSSES = [0, 1, 2, 5, 10]; // per cent
const FIRST_LOSS = 5;
const FIRST_LOST = 2; // the packet that the model loses at first
const COLORS = { websocket: "websocket", stream: "webtransport", datagrams: "webtransport" };
const SHORTEST = ROUND_TRIP / 2; // ms: one way
const LATE = SHORTEST + ROUND_TRIP; // ms: it waited for a packet to be sent again
const DRAW_INTERVAL = 200; // ms: to draw each frame would delay what is measured

const PAGE = `
  <h2 data-i18n="lesson.wt.measure-title"></h2>
  <p data-i18n="lesson.wt.measure"></p>
  <p class="controls"><label><span data-i18n="lesson.wt.loss"></span> <select data-part="loss"></select></label>
    <button type="button" data-part="run"></button> <span data-part="progress" role="status"></span></p>
  <svg data-part="delays" class="delay-lanes" role="img"></svg>
  <div class="scroll"><table class="numbers">
    <thead><tr><td></td><th scope="col" data-i18n="lesson.wt.received"></th><th scope="col" data-i18n="lesson.wt.lost"></th>
      <th scope="col" data-part="late"></th><th scope="col">p50</th><th scope="col">p95</th>
      <th scope="col" data-i18n="lesson.wt.longest"></th></tr></thead>
    <tbody data-part="figures"></tbody>
  </table></div>
  <p data-part="verdict" role="status"></p>
  <p class="small" data-i18n="lesson.wt.honest"></p>
  <h3 data-i18n="lesson.wt.model-title"></h3>
  <p data-i18n="lesson.wt.model"></p>
  <p class="controls" data-part="packets" role="group"></p>
  <div data-part="modes" class="modes"></div>
  <p data-i18n="lesson.wt.why"></p>`;

export function showLesson(element) {
  const part = fillLesson(element, PAGE);
  showMeasurement(part);
  showModel(part);
}

// --- measured ----------------------------------------------------------------------------------------

async function showMeasurement(part) {
  const run = part("run");
  part("loss").append(...LOSSES.map((loss) => (
    new Option(t("lesson.wt.percent", { loss: number(loss) }), loss, loss === FIRST_LOSS, loss === FIRST_LOSS)
  )));
  run.textContent = t("lesson.wt.run", { count: number(COUNT) });
  part("late").textContent = t("lesson.wt.late", { limit: ms(LATE) });
  let [lanes, isOver] = [Object.fromEntries(LANES.map((lane) => [lane, []])), false];
  const draw = () => show(part, lanes, isOver);
  new ResizeObserver(oncePerFrame(draw)).observe(part("delays"));
  onClick(run, async () => {
    part("verdict").textContent = "";
    isOver = false;
    const timer = setInterval(draw, DRAW_INTERVAL);
    try {
      await measure(part, (now) => { lanes = now; });
      isOver = true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      part("progress").textContent = failure(error);
    } finally {
      clearInterval(timer);
      draw();
    }
  });
  const why = await whyUnavailable("webtransport");
  if (!why) return requireNetworks(run, part("progress"));
  run.disabled = true;
  part("progress").textContent = why;
}

async function measure(part, onDelay) {
  const network = conditions(Number(part("loss").value));
  part("progress").textContent = t("lesson.wt.running", { network });
  const lease = await leaseNetwork(network);
  try {
    if (!lease?.udp) throw new ApiError("network", network, { reason: "no_line" });
    await sendOverLossyLine(lease.base, onDelay);
    part("progress").textContent = t("lesson.wt.ran", { network });
  } finally {
    lease?.release();
  }
}

function show(part, lanes, isOver) {
  const named = LANES.map((lane) => ({ via: COLORS[lane], name: t(`lesson.wt.lane.${lane}`), delays: lanes[lane] }));
  drawDelayLanes(part("delays"), named, { count: COUNT, shortest: SHORTEST, isOver });
  const figures = LANES.map((lane) => delayFigures(lanes[lane], LATE));
  part("figures").replaceChildren(...figures.map((one, n) => figuresRow(named[n].name, one, isOver)));
  if (isOver) part("verdict").textContent = verdict(figures);
}

function figuresRow(name, { received, lost, late, median, p95, longest }, isOver) {
  return row(name, number(received), isOver ? number(lost) : "–", number(late), ms(median), ms(p95), ms(longest));
}

function verdict([websocket, stream, datagrams]) {
  return t("lesson.wt.verdict", {
    websocket: number(websocket.late), stream: number(stream.late), datagrams: number(datagrams.late),
    lost: number(datagrams.lost), count: number(COUNT),
  });
}

function ms(delay) {
  return delay === undefined ? "–" : t("chat.ms", { ms: number(Math.round(delay)) });
}

// --- the model ---------------------------------------------------------------------------------------

function showModel(part) {
  const lost = new Set([FIRST_LOST]);
  const drawings = MODES.map((mode) => {
    const svg = svgEl("svg", { role: "img" });
    part("modes").append(el("figure", "", el("figcaption", "", t(`lesson.wt.mode.${mode}`)), svg));
    return svg;
  });
  const draw = () => MODES.forEach((mode, n) => drawDeliveries(drawings[n], mode, lost));
  part("packets").setAttribute("aria-label", t("lesson.wt.lose"));
  part("packets").append(t("lesson.wt.lose"), ...Array.from({ length: PACKETS }, (_, n) => packetButton(n, lost, draw)));
  draw();
}

function packetButton(n, lost, draw) {
  const button = el("button", { type: "button", className: "packet" }, number(n + 1));
  const show = () => button.setAttribute("aria-pressed", lost.has(n));
  button.setAttribute("aria-label", t("lesson.wt.packet", { n: number(n + 1) }));
  button.addEventListener("click", () => {
    if (!lost.delete(n)) lost.add(n);
    show();
    draw();
  });
  show();
  return button;
}
