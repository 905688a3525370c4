// The lesson of the short poll: one interval buys delay and pays in requests.  Whatever is said waits
// for the next question, half an interval on average and a whole one at worst; and every question that
// comes too early costs as much as one that finds something.

import { onPoll } from "../polls.js";
import { number, t } from "../words.js";
import { drawChart } from "./interval_chart.js";
import {
  drawer, excuse, fillLesson, keep, mean, pause, row, stranger, whilePressed,
} from "./parts.js";

const ROWS = 6; // intervals that are remembered
const DELAYS = 200; // … and delays of each
const WORDS = 20; // that the button has said
// Sooner than this part of the interval after the last question, it is not the interval that asked.
const EARLY = 0.8;

const PAGE = `
  <h2 data-i18n="lesson.short.title"></h2>
  <p data-i18n="lesson.short.idea"></p>
  <p><button type="button" data-part="say"></button> <span data-part="progress" role="status"></span></p>
  <svg data-part="chart" class="interval" viewBox="0 0 480 270" role="img"
    data-i18n-aria-label="lesson.short.chart"></svg>
  <div class="scroll"><table class="numbers">
    <thead><tr><th data-i18n="lesson.short.interval"></th><th data-i18n="lesson.short.requests"></th>
      <th data-i18n="lesson.short.empty"></th><th data-i18n="lesson.short.messages"></th>
      <th data-i18n="lesson.short.mean"></th><th data-i18n="lesson.short.worst"></th>
      <th data-i18n="lesson.short.bytes"></th></tr></thead>
    <tbody data-part="rows"></tbody>
  </table></div>
  <p class="small" data-i18n="lesson.short.note"></p>`;

export function showLesson(element, { tap, room, client, knob }) {
  const part = fillLesson(element, PAGE);
  const interval = () => Number(knob("interval"));
  const other = stranger(room);
  const runs = watchRuns(tap, interval, [client, other.client], drawer(draw));
  part("say").textContent = t("lesson.short.say", { count: WORDS });

  function draw() {
    drawChart(part("chart"), runs, interval());
    part("rows").replaceChildren(...runs.map(runRow).reverse());
  }

  const tell = (n) => (part("progress").textContent = t("lesson.said", { n, count: WORDS }));
  whilePressed(part("say"), async () => {
    try {
      await sayAtRandom(other.say, interval(), tell);
    } catch (trouble) {
      part("progress").textContent = excuse(trouble);
    }
  });
  showKnob();
  draw();
}

// The knob stands above, in the text of the page; while it is moved, it tells where it is.
function showKnob() {
  const knob = document.getElementById("interval");
  const shown = document.getElementById("interval-shown");
  const show = () => (shown.textContent = seconds(Number(knob.value)));
  knob.addEventListener("input", show);
  show();
}

// --- what has been seen --------------------------------------------------------------------------

/** A run for each interval tried: {interval, requests, empty, messages, delays, bytes}. */
function watchRuns(tap, interval, ours, changed) {
  const runs = [];
  let before;
  onPoll(({ asked, events }) => {
    if (!events) return;
    const run = runOf(runs, interval());
    const regular = asked - before >= EARLY * 1000 * run.interval;
    before = asked;
    run.requests += 1;
    if (!events.length) run.empty += 1;
    // The first answer brings what was said long ago, and one asked early what has hardly waited.
    if (regular) events.forEach((event) => count(run, event, ours));
    changed();
  });
  tap.on(({ transport, bytes }) => {
    if (transport === "short_polling" && bytes) runOf(runs, interval()).bytes += bytes.length;
  });
  return runs;
}

function runOf(runs, interval) {
  let run = runs.find((one) => one.interval === interval);
  if (!run) {
    run = { interval, requests: 0, empty: 0, messages: 0, delays: [], bytes: 0 };
    keep(runs, run, ROWS);
  }
  return run;
}

// Only what was said on this machine has a time of this machine's clock.
function count(run, event, ours) {
  if (event.kind !== "say") return;
  run.messages += 1;
  if (ours.includes(event.client)) keep(run.delays, (Date.now() - event.sent) / 1000, DELAYS);
}

function runRow({ interval, requests, empty, messages, delays, bytes }) {
  const wasted = number(requests && empty / requests, { style: "percent", maximumFractionDigits: 0 });
  return row(
    seconds(interval),
    number(requests),
    t("lesson.short.wasted", { n: number(empty), part: wasted }),
    number(messages),
    measured(mean(delays), interval / 2),
    measured(delays.length ? Math.max(...delays) : undefined, interval),
    bytes && messages ? number(Math.round(bytes / messages)) : "–",
  );
}

function measured(value, theory) {
  if (value === undefined) return "–";
  return t("lesson.short.against", { measured: seconds(value), theory: seconds(theory) });
}

function seconds(value) {
  return `${number(value, { maximumFractionDigits: 2 })} s`;
}

// --- somebody who speaks when it suits him -------------------------------------------------------

// At moments that know nothing of the interval, or its beat would be measured and not the wait.
async function sayAtRandom(say, interval, tell) {
  const span = 1000 * Math.min(30, Math.max(3, 8 * interval));
  const moments = Array.from({ length: WORDS }, () => Math.random() * span).sort((a, b) => a - b);
  const began = performance.now();
  for (const [i, moment] of moments.entries()) {
    await pause(Math.max(0, began + moment - performance.now()));
    await say(t("lesson.short.word", { n: i + 1 })).said;
    tell(i + 1);
  }
}
