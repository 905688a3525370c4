// The lesson of the short poll: the interval trades delay for requests.  A message waits for the next
// request, half an interval on average and a whole one at most; and a request without news costs as much
// as one with news.

import { byId } from "../dom.js";
import { number, t } from "../i18n.js";
import { onPoll } from "../poll_events.js";
import {
  failure, fillLesson, mean, oncePerFrame, onClick, pushBounded, row, sleep, testUser,
} from "./helpers.js";
import { drawChart } from "./interval_chart.js";
import { watchExchanges } from "./watch.js";

const MAX_RUNS = 6; // intervals in the table
const MAX_DELAYS = 200; // of each interval
const MESSAGES = 20; // sent by the button
// Fraction of the interval: a request that follows the last one sooner was not started by the timer.
const MIN_REGULAR = 0.8;

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

export function showLesson(element, { tap, room, client, setting }) {
  const part = fillLesson(element, PAGE);
  const interval = () => Number(setting("interval"));
  const user = testUser(room);
  const runs = watchRuns(tap, interval, [client, user.client], oncePerFrame(draw));
  part("say").textContent = t("lesson.short.say", { count: MESSAGES });

  function draw() {
    drawChart(part("chart"), runs, interval());
    part("rows").replaceChildren(...runs.map(runRow).reverse());
  }

  const showProgress = (n) => (part("progress").textContent = t("lesson.said", { n, count: MESSAGES }));
  onClick(part("say"), async () => {
    try {
      await sendAtRandom(user.send, interval(), showProgress);
    } catch (error) {
      part("progress").textContent = failure(error);
    }
  });
  showInterval();
  draw();
}

// The slider is above, in the text of the page; this shows its value while the user moves it.
function showInterval() {
  const slider = byId("interval");
  const show = () => (byId("interval-shown").textContent = seconds(Number(slider.value)));
  slider.addEventListener("input", show);
  show();
}

// --- the measurements ----------------------------------------------------------------------------

/** A run for each interval that was used: {interval, requests, empty, messages, delays, bytes}. */
function watchRuns(tap, interval, ours, onChange) {
  const runs = [];
  let previous;
  onPoll(({ sentAt, events }) => {
    if (!events) return;
    const first = previous === undefined;
    const run = runOf(runs, interval());
    const regular = sentAt - previous >= MIN_REGULAR * 1000 * run.interval;
    previous = sentAt;
    if (first) return; // it brings the messages that were in the room before
    run.requests += 1;
    if (!events.length) run.empty += 1;
    // A message that an early request brings has hardly waited.
    events.forEach((event) => count(run, event, regular && ours.includes(event.client)));
    onChange();
  });
  // A request without a cursor is the first one.
  watchExchanges(tap, "short_polling", (request, response) => {
    if (!/[?&]after=/.test(request.target)) return;
    runOf(runs, interval()).bytes += request.bytes + response.bytes;
    onChange();
  });
  return runs;
}

function runOf(runs, interval) {
  let run = runs.find((one) => one.interval === interval);
  if (!run) {
    run = { interval, requests: 0, empty: 0, messages: 0, delays: [], bytes: 0 };
    pushBounded(runs, run, MAX_RUNS);
  }
  return run;
}

// Only messages that were sent on this machine have a time of this machine's clock.
function count(run, event, measurable) {
  if (event.kind !== "say") return;
  run.messages += 1;
  if (measurable) pushBounded(run.delays, (Date.now() - event.sent) / 1000, MAX_DELAYS);
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

// --- messages at random moments ------------------------------------------------------------------

// The moments are independent of the interval; otherwise all messages would wait for the same time.
async function sendAtRandom(send, interval, onProgress) {
  const span = 1000 * Math.min(30, Math.max(3, 8 * interval));
  const moments = Array.from({ length: MESSAGES }, () => Math.random() * span).sort((a, b) => a - b);
  const startedAt = performance.now();
  for (const [i, moment] of moments.entries()) {
    await sleep(Math.max(0, startedAt + moment - performance.now()));
    await send(t("lesson.short.word", { n: i + 1 })).done;
    onProgress(i + 1);
  }
}
