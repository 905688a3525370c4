// The lesson of the long poll: the gap.  Between an answer and the next question nothing waits at the
// server, and what is said then must wait for that question: three transits instead of one.

import { address, askJSON } from "../ask.js";
import { make } from "../make.js";
import { onPoll } from "../polls.js";
import { number, t } from "../words.js";
import {
  drawer, excuse, fillLesson, keep, pause, quantile, row, stranger, svg, whilePressed,
} from "./parts.js";

const KEPT = 100; // gaps that the figures are made of
const SHOWN = 8; // … and bars that are drawn
const PROBES = 5; // of the round trip
const PATIENCE = 15_000;
// Below so many ms the network is too short to tell transits apart from the work of the page.
const FEELABLE = 20;

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
  const gaps = watchGaps(tap, drawer(draw));

  function draw() {
    part("bars").setAttribute("aria-label", t("lesson.long.chart"));
    part("bars").replaceChildren(...bars(gaps.list.slice(-SHOWN)));
    part("figures").replaceChildren(...figures(gaps));
  }

  whilePressed(part("say"), async () => {
    try {
      gaps.roundTrip = await measure(room, gaps.base);
      showPair(part, await sayTwo(room), gaps.roundTrip);
    } catch (trouble) {
      part("verdict").textContent = excuse(trouble);
    }
    draw();
  });
  onPoll(async ({ base }) => {
    if (gaps.roundTrip !== undefined && base === gaps.base) return;
    Object.assign(gaps, { base, roundTrip: 0, list: [] });
    gaps.roundTrip = await measure(room, base).catch(() => 0);
    draw();
  });
  draw();
}

// --- the gap -------------------------------------------------------------------------------------

/** The same gap, {page, server}, by two clocks: the page's own, and the server's, which the tap tells. */
function watchGaps(tap, changed) {
  const gaps = { list: [], base: undefined, roundTrip: undefined };
  let answered, left;
  onPoll((poll) => {
    if (poll.answered === undefined && answered !== undefined) {
      keep(gaps.list, { page: poll.asked - answered }, KEPT);
      changed();
    }
    // A question that was given up leaves no answer for the next one to follow.
    answered = poll.answered;
  });
  tap.on(({ transport, direction, at }) => {
    if (transport !== "long_polling") return;
    if (direction === "up" && left !== undefined) {
      const gap = gaps.list.find(({ server }) => server === undefined);
      if (gap) gap.server = at - left;
      changed();
    }
    left = direction === "down" ? at : undefined;
  });
  return gaps;
}

/** What the network takes there and back, in the middle of a few short polls. */
async function measure(room, base) {
  const trips = [];
  for (let i = 0; i < PROBES; i++) {
    const asked = performance.now();
    await askJSON(address(room, "short_polling", { after: "now" }, base));
    trips.push(performance.now() - asked);
  }
  return quantile(trips, 0.5);
}

function figures({ list, roundTrip = 0 }) {
  const page = list.map((gap) => gap.page);
  const server = list.map((gap) => gap.server).filter((gap) => gap !== undefined);
  const usual = quantile(page, 0.5);
  const predicted = usual === undefined ? undefined : usual + roundTrip;
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

// One line per gap, the newest below: how long the page took, and how long the server was blind.
function bars(gaps) {
  const longest = Math.max(1, ...gaps.map(({ page, server }) => Math.max(page, server ?? 0)));
  const scale = (value) => (WIDTH * value) / longest;
  return gaps.flatMap((gap, i) => bar(gap, TOP + i * STEP, scale));
}

function bar({ page, server }, y, scale) {
  const length = Math.max(scale(page), scale(server ?? 0));
  return [
    svg("rect", { class: "blind", x: LEFT, y, width: scale(server ?? 0), height: 12 }),
    svg("rect", { class: "page", x: LEFT, y: y + 3, width: Math.max(1, scale(page)), height: 6 }),
    svg("text", { x: LEFT + length + 5, y: y + 10 }, ms(server ?? page)),
  ];
}

// --- two messages, one ms apart --------------------------------------------------------------------

async function sayTwo(room) {
  const { say } = stranger(room);
  const watch = watchArrivals();
  const began = performance.now();
  const sent = [];
  for (const word of [t("lesson.long.first"), t("lesson.long.second")]) {
    const at = performance.now();
    const { id, said } = say(word);
    said.catch(watch.fail);
    sent.push({ id, word, at, after: at - began });
    while (performance.now() - at < 1) await pause(0);
  }
  const arrived = await watch.all(sent.map(({ id }) => id));
  return sent.map((one) => ({ ...one, ...arrived.get(one.id), delay: arrived.get(one.id).at - one.at }));
}

/** In which answer each message comes, and when. */
function watchArrivals() {
  const arrived = new Map();
  let wanted, done, fail;
  const all = new Promise((resolve, reject) => ([done, fail] = [resolve, reject]));
  let answer = 0;
  const stop = onPoll(({ answered, events }) => {
    if (!events) return;
    answer += 1;
    events.forEach(({ id }) => arrived.set(id, { at: answered, answer }));
    check();
  });
  function check() {
    if (wanted?.every((id) => arrived.has(id))) done(arrived);
  }
  const timer = setTimeout(() => fail(new Error(t("lesson.no-answer"))), PATIENCE);
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
  const first = Math.min(...pair.map(({ answer }) => answer));
  const felt = roundTrip > FEELABLE;
  part("pair").hidden = false;
  part("travelled").replaceChildren(...pair.map((one) => row(
    one.word,
    `+${ms(one.after)}`,
    number(one.answer - first + 1),
    ms(one.delay),
    felt ? number(one.delay / (roundTrip / 2), { maximumFractionDigits: 1 }) : "–",
  )));
  const together = pair[0].answer === pair[1].answer;
  const said = t(together ? "lesson.long.together" : "lesson.long.apart");
  const theory = t(felt ? "lesson.long.theory" : "lesson.long.too-near", {
    one: ms(roundTrip / 2), three: ms(1.5 * roundTrip), trip: ms(roundTrip),
  });
  part("verdict").replaceChildren(make("b", "", said), " ", theory);
}
