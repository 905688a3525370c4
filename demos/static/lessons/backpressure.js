// The lesson "Backpressure, seen": a slow reader, and what the sender does.

import { ApiError } from "../api.js";
import { svgEl } from "../dom.js";
import { number, t } from "../i18n.js";
import { bytes as bytesText } from "../wire/labels.js";
import { failure, onClick, oncePerFrame } from "./helpers.js";
import { COUNT, hasStreams, readSlowly } from "./slow_reader.js";

const SPEEDS = [0, 10, 40, 1000]; // messages per second
const FIRST_SPEED = 10;
const SAMPLE_INTERVAL = 200; // ms
const MAX_SAMPLES = 600;
export const LINES = ["published", "sent", "read"];

export const BACKPRESSURE = `
  <h3 data-i18n="lesson.slow.title">Backpressure, seen</h3>
  <p data-i18n="lesson.slow.idea">Others publish faster than this page reads. Where do the messages wait? With <code>WebSocketStream</code>
the browser takes from the connection only what the page reads. With <code>WebSocket</code> it takes
everything, and the page cannot slow it down. Change the page’s speed while it runs, too.</p>
  <p class="controls"><label><span data-i18n="lesson.slow.reads-with">The page reads with</span>
    <select data-part="slow-kind">
      <option value="stream">WebSocketStream</option><option value="socket">WebSocket</option></select></label>
    <label><span data-i18n="lesson.slow.speed">and reads</span> <select data-part="slow-speed"></select></label>
    <button type="button" data-part="slow-run"></button></p>
  <p class="small" data-part="slow-missing" hidden data-i18n="lesson.slow.missing">This browser has no WebSocketStream; Chrome and Edge have it.
So here the page can read with WebSocket only.</p>
  <svg data-part="slow-chart" class="flow" role="img"></svg>
  <p data-part="slow-figures"></p>
  <p data-part="slow-result" role="status"></p>
  <p data-i18n="lesson.slow.where">The distance between “sent” and “read” soon stops growing: all buffers on the way are full. The
stream’s queue is full, so the browser reads no more from its socket. The socket’s receive buffer is
full, so TCP announces a receive window of zero: the server has no credit left (RFC 9293 §3.8.6). Its
send buffer is full, so the kernel accepts no more bytes.</p>
  <p data-i18n="lesson.slow.server">The server then queues nothing for this reader. It keeps the reader’s cursor, and continues from the
room’s log when the connection accepts bytes again. A reader that is too late for the log receives
<code>gap</code>. A connection that accepts nothing for 10 s is closed. Other readers notice nothing of
this.</p>`;

/** Fill the parts of `BACKPRESSURE`. */
export function showBackpressure(part) {
  part("slow-speed").append(...SPEEDS.map((speed) => (
    new Option(speedText(speed), speed, speed === FIRST_SPEED, speed === FIRST_SPEED)
  )));
  part("slow-run").textContent = t("lesson.slow.run", { count: number(COUNT) });
  if (!hasStreams()) {
    part("slow-missing").hidden = false;
    part("slow-kind").value = "socket";
    part("slow-kind").disabled = true;
  }
  const samples = []; // of the last run
  new ResizeObserver(oncePerFrame(() => drawFlow(part("slow-chart"), samples))).observe(part("slow-chart"));
  onClick(part("slow-run"), () => run(part, samples));
}

function speedText(speed) {
  if (!speed) return t("lesson.slow.speed-none");
  return speed === SPEEDS.at(-1) ? t("lesson.slow.speed-all") : t("lesson.slow.speed-some", { speed: number(speed) });
}

async function run(part, samples) {
  samples.length = 0;
  const startedAt = performance.now();
  let latest = { published: 0, sent: 0, read: 0, queued: 0 };
  const show = () => {
    if (samples.length < MAX_SAMPLES) samples.push({ seconds: (performance.now() - startedAt) / 1000, ...latest });
    drawFlow(part("slow-chart"), samples);
    part("slow-figures").textContent = figuresText(latest);
  };
  const timer = setInterval(show, SAMPLE_INTERVAL);
  part("slow-kind").disabled = true;
  part("slow-result").textContent = t("lesson.slow.running");
  try {
    const speed = () => Number(part("slow-speed").value);
    const end = await readSlowly(part("slow-kind").value, speed, (state) => { latest = state; });
    part("slow-result").textContent = resultText(end);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    part("slow-result").textContent = failure(error);
  } finally {
    clearInterval(timer);
    show();
    part("slow-kind").disabled = !hasStreams();
  }
}

function figuresText({ published, sent, read, queued }) {
  return t("lesson.slow.figures", {
    published: bytesText(published), sent: bytesText(sent), read: bytesText(read), queued: bytesText(queued),
    log: bytesText(Math.max(0, published - sent)), way: bytesText(Math.max(0, sent - read - queued)),
  });
}

function resultText({ closed }) {
  if (!closed) return t("lesson.slow.complete", { count: number(COUNT) });
  return t("lesson.slow.closed", { code: [closed.code, closed.reason].filter(Boolean).join(" ") });
}

// --- the chart ---------------------------------------------------------------------------------------

const LEFT = 64;
const RIGHT = 110; // the names of the lines
const MAX_WIDTH = 726; // px: a phone has less, and text must stay readable there
const BOTTOM = 190;
const HEIGHT = 170;
const TICKS = 4;
// The axes grow in these steps, so that all ticks are round numbers.
const SECONDS = 3 * TICKS;
const BYTES = 100_000 * TICKS;

/** Draw three lines over time: bytes published, sent by the server, and read by the page. */
export function drawFlow(svg, samples) {
  const seconds = inSteps(samples.at(-1)?.seconds ?? 0, SECONDS);
  const most = inSteps(Math.max(0, ...samples.map(({ published, sent }) => Math.max(published, sent))), BYTES);
  const width = Math.min(MAX_WIDTH, svg.clientWidth || MAX_WIDTH);
  const end = width - RIGHT;
  const x = (at) => LEFT + ((end - LEFT) * at) / seconds;
  const y = (bytes) => BOTTOM - (HEIGHT * bytes) / most;
  svg.setAttribute("viewBox", `0 0 ${width} ${BOTTOM + 34}`);
  svg.setAttribute("aria-label", t("lesson.slow.chart"));
  svg.replaceChildren(...axes(x, y, seconds, most), ...LINES.map((name) => line(name, samples, x, y)), ...names(samples, y, end));
}

function inSteps(value, step) {
  return step * Math.max(1, Math.ceil(value / step));
}

function axes(x, y, seconds, most) {
  const steps = Array.from({ length: TICKS + 1 }, (_, n) => n / TICKS);
  return [
    ...steps.flatMap((part) => [
      svgEl("line", { class: "axis", x1: LEFT, x2: x(seconds), y1: y(part * most), y2: y(part * most) }),
      svgEl("text", { x: LEFT - 6, y: y(part * most) + 4, "text-anchor": "end" }, bytesText(part * most)),
      svgEl("text", { x: x(part * seconds), y: BOTTOM + 16, "text-anchor": "middle" }, number(part * seconds)),
    ]),
    svgEl("text", { x: x(seconds), y: BOTTOM + 31, "text-anchor": "end" }, t("lesson.slow.axis")),
  ];
}

function line(name, samples, x, y) {
  const points = samples.map((sample) => `${x(sample.seconds).toFixed(1)},${y(sample[name]).toFixed(1)}`);
  return svgEl("polyline", { class: name, points: points.join(" ") });
}

// Beside the end of each line, and far enough apart to be read.
function names(samples, y, end) {
  const last = samples.at(-1) ?? { published: 0, sent: 0, read: 0 };
  let above = -Infinity;
  return LINES.map((name) => {
    above = Math.max(above + 16, y(last[name]) + 4);
    return svgEl("text", { class: name, x: end + 8, y: Math.min(above, BOTTOM + 4) }, t(`lesson.slow.line.${name}`));
  });
}
