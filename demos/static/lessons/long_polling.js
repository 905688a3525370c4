// The lesson of the long poll: the blind time.  Between a response and the next request no request waits at
// the server, and a message from that time has to wait for the request: three transits instead of one.

import { requestJSON, roomUrl } from "../api.js";
import { el, svgEl } from "../dom.js";
import { number, t } from "../i18n.js";
import { onPoll } from "../poll_events.js";
import {
  failure, fillLesson, oncePerFrame, onClick, pushBounded, quantile, row, sleep, testUser,
} from "./helpers.js";

const MAX_GAPS = 100; // blind times, for the figures
const MAX_BARS = 8;
const PROBES = 5; // round trips
const TIMEOUT = 15_000;
// ms: below this round trip the page's own work hides the transits.
const MIN_ROUND_TRIP = 20;

const PAGE = `
  <h2 data-i18n="lesson.long.title"></h2>
  <p data-i18n="lesson.long.idea"></p>
  <p class="key"><span class="blind"></span> <span data-i18n="lesson.long.key-server"></span></p>
  <p class="key"><span class="page"></span> <span data-i18n="lesson.long.key-page"></span></p>
  <svg data-part="bars" class="gaps" viewBox="0 0 480 150" role="img"></svg>
  <div class="scroll"><table>
    <thead><tr><td></td><th data-i18n="lesson.long.count"></th><th>p50</th><th>p99</th>
      <th data-i18n="lesson.predicted"></th></tr></thead>
    <tbody data-part="figures"></tbody>
  </table></div>
  <h3 data-i18n="lesson.long.pair-title"></h3>
  <p data-i18n="lesson.long.pair"></p>
  <p><button type="button" data-part="say" data-i18n="lesson.long.say"></button></p>
  <div class="scroll"><table hidden data-part="pair">
    <thead><tr><th data-i18n="lesson.message"></th><th data-i18n="lesson.long.said"></th>
      <th data-i18n="lesson.long.answer"></th><th data-i18n="lesson.long.delay"></th>
      <th data-i18n="lesson.long.transits"></th></tr></thead>
    <tbody data-part="travelled"></tbody>
  </table></div>
  <p data-part="verdict" role="status"></p>`;

export function showLesson(element, { tap, room }) {
  const part = fillLesson(element, PAGE);
  const gaps = watchGaps(tap, oncePerFrame(draw));

  function draw() {
    part("bars").setAttribute("aria-label", t("lesson.long.chart"));
    part("bars").replaceChildren(...bars(gaps.list.slice(-MAX_BARS)));
    part("figures").replaceChildren(...figures(gaps));
  }

  onClick(part("say"), async () => {
    try {
      gaps.roundTrip = await measureRoundTrip(room, gaps.base);
      showPair(part, await sendTwo(room), gaps.roundTrip);
    } catch (error) {
      part("verdict").textContent = failure(error);
    }
    draw();
  });
  onPoll(async ({ base }) => {
    if (gaps.roundTrip !== undefined && base === gaps.base) return;
    Object.assign(gaps, { base, roundTrip: 0, list: [] });
    gaps.roundTrip = await measureRoundTrip(room, base).catch(() => 0);
    draw();
  });
  draw();
}

// --- the blind time ------------------------------------------------------------------------------

/** Each blind time, {page, server} in ms, by two clocks: the page's, and the server's in the tap's records. */
function watchGaps(tap, onChange) {
  const gaps = { list: [], base: undefined, roundTrip: undefined };
  let receivedAt, leftAt;
  onPoll((poll) => {
    if (poll.receivedAt === undefined && receivedAt !== undefined) {
      pushBounded(gaps.list, { page: poll.sentAt - receivedAt }, MAX_GAPS);
      onChange();
    }
    // After a cancelled request there is no response, so the next request ends no blind time.
    receivedAt = poll.receivedAt;
  });
  tap.on(({ transport, direction, at }) => {
    if (transport !== "long_polling") return;
    if (direction === "up" && leftAt !== undefined) {
      const gap = gaps.list.find(({ server }) => server === undefined);
      if (gap) gap.server = at - leftAt;
      onChange();
    }
    leftAt = direction === "down" ? at : undefined;
  });
  return gaps;
}

/** The round-trip time in ms: the median of a few short polls. */
async function measureRoundTrip(room, base) {
  const trips = [];
  for (let i = 0; i < PROBES; i++) {
    const sentAt = performance.now();
    await requestJSON(roomUrl(room, "short_polling", { after: "now" }, base));
    trips.push(performance.now() - sentAt);
  }
  return quantile(trips, 0.5);
}

function figures({ list, roundTrip = 0 }) {
  const page = list.map((gap) => gap.page);
  const server = list.map((gap) => gap.server).filter((gap) => gap !== undefined);
  const median = quantile(page, 0.5);
  const predicted = median === undefined ? undefined : median + roundTrip;
  return [
    gapRow(t("lesson.long.by-page"), page, t("lesson.long.by-page-why")),
    gapRow(t("lesson.long.by-server"), server, predicted === undefined ? "–" : t("lesson.long.by-server-why", {
      trip: ms(roundTrip), total: ms(predicted),
    })),
  ];
}

function gapRow(name, values, why) {
  const cells = [number(values.length), ms(quantile(values, 0.5)), ms(quantile(values, 0.99)), why];
  return row(name, ...cells);
}

function ms(value) {
  if (value === undefined) return "–";
  return `${number(value, { maximumFractionDigits: value < 10 ? 1 : 0 })} ms`;
}

// --- the bars ------------------------------------------------------------------------------------

const LEFT = 10;
const WIDTH = 400;
const TOP = 4;
const STEP = 18;

// One line per blind time, the newest at the bottom: the page's part of it, and all of it at the server.
function bars(gaps) {
  const longest = Math.max(1, ...gaps.map(({ page, server }) => Math.max(page, server ?? 0)));
  const scale = (value) => (WIDTH * value) / longest;
  return gaps.flatMap((gap, i) => bar(gap, TOP + i * STEP, scale));
}

function bar({ page, server }, y, scale) {
  const length = Math.max(scale(page), scale(server ?? 0));
  return [
    svgEl("rect", { class: "blind", x: LEFT, y, width: scale(server ?? 0), height: 12 }),
    svgEl("rect", { class: "page", x: LEFT, y: y + 3, width: Math.max(1, scale(page)), height: 6 }),
    svgEl("text", { x: LEFT + length + 5, y: y + 10 }, ms(server ?? page)),
  ];
}

// --- two messages, one ms apart --------------------------------------------------------------------

async function sendTwo(room) {
  const { send } = testUser(room);
  const watch = watchArrivals();
  const startedAt = performance.now();
  const sent = [];
  for (const word of [t("lesson.long.first"), t("lesson.long.second")]) {
    const at = performance.now();
    const { id, done } = send(word);
    done.catch(watch.fail);
    sent.push({ id, word, at, after: at - startedAt });
    while (performance.now() - at < 1) await sleep(0);
  }
  const arrived = await watch.all(sent.map(({ id }) => id));
  return sent.map((one) => ({ ...one, ...arrived.get(one.id), delay: arrived.get(one.id).at - one.at }));
}

/** Which response brings each message, and when. */
function watchArrivals() {
  const arrived = new Map();
  let wanted, done, fail;
  const all = new Promise((resolve, reject) => ([done, fail] = [resolve, reject]));
  let response = 0;
  const stop = onPoll(({ receivedAt, events }) => {
    if (!events) return;
    response += 1;
    events.forEach(({ id }) => arrived.set(id, { at: receivedAt, response }));
    check();
  });
  function check() {
    if (wanted?.every((id) => arrived.has(id))) done(arrived);
  }
  const timer = setTimeout(() => fail(new Error(t("lesson.no-answer"))), TIMEOUT);
  return {
    fail,
    async all(ids) {
      wanted = ids;
      check();
      try {
        return await all;
      } finally {
        clearTimeout(timer);
        stop();
      }
    },
  };
}

function showPair(part, pair, roundTrip) {
  const first = Math.min(...pair.map(({ response }) => response));
  const measurable = roundTrip > MIN_ROUND_TRIP;
  part("pair").hidden = false;
  part("travelled").replaceChildren(...pair.map((one) => row(
    one.word,
    `+${ms(one.after)}`,
    number(one.response - first + 1),
    ms(one.delay),
    measurable ? number(one.delay / (roundTrip / 2), { maximumFractionDigits: 1 }) : "–",
  )));
  const together = pair[0].response === pair[1].response;
  const result = t(together ? "lesson.long.together" : "lesson.long.apart");
  const theory = t(measurable ? "lesson.long.theory" : "lesson.long.too-near", {
    one: ms(roundTrip / 2), three: ms(1.5 * roundTrip), trip: ms(roundTrip),
  });
  part("verdict").replaceChildren(el("b", "", result), " ", theory);
}
