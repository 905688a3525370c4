// What a library does until the first message: each request, answer and frame, as it crossed.

import { drawer, fillLesson, keep, row } from "./parts.js";
import { make } from "../make.js";
import { watchMessages } from "./watch.js";
import { number, t } from "../words.js";

const ROWS = 30;
const SHOWN = 72; // characters of what is said

const PAGE = `
  <p class="controls"><button type="button" data-part="again" data-i18n="lesson.steps.again">Connect anew</button></p>
  <p data-part="sum" role="status"></p>
  <div class="scroll"><table class="steps-table">
    <thead><tr><th data-i18n="lesson.steps.when">when</th><th data-i18n="lesson.steps.way">way</th>
      <th data-i18n="lesson.steps.what">what</th><th data-i18n="lesson.steps.bytes">bytes</th>
      <th data-i18n="lesson.steps.means">what it is for</th></tr></thead>
    <tbody data-part="steps"></tbody>
  </table></div>`;

/**
 * Show the steps of `transport` since it last began.  `meaning(step)` gives a key of words, or nothing;
 * `isFirst(step)` says that a connection begins, `isNews(text)` that the first event has come.
 */
export function showSteps(element, { tap, beginAgain }, { transport, words, meaning, isFirst, isNews }) {
  const part = fillLesson(element, PAGE);
  element.prepend(make("h2", "", t(`lesson.${words}.title`)), make("p", "", t(`lesson.${words}.idea`)));
  let steps = [];
  let arrived;

  const draw = drawer(() => {
    part("steps").replaceChildren(...steps.map((step) => stepRow(step, steps[0], meaning(step))));
    part("sum").textContent = arrived ? summary(steps, arrived) : "";
  });
  watchMessages(tap, transport, (step) => {
    if (isFirst(step)) [steps, arrived] = [[], undefined];
    keep(steps, step, ROWS);
    if (!arrived && step.direction === "down" && isNews(step.text)) arrived = step;
    draw();
  });
  part("again").addEventListener("click", beginAgain);
}

function summary(steps, arrived) {
  const before = steps.slice(0, steps.indexOf(arrived) + 1);
  return t("lesson.steps.sum", {
    requests: number(before.filter(({ method }) => method).length),
    frames: number(before.filter(({ kind }) => kind === "frame").length),
    bytes: number(before.reduce((sum, { bytes }) => sum + bytes, 0)),
    ms: number(Math.round(arrived.at - steps[0].at)),
  });
}

function stepRow(step, first, meaning) {
  const line = row(
    `${number(Math.max(0, step.at - first.at), { maximumFractionDigits: 0 })} ms`,
    step.direction === "up" ? "↑" : "↓",
    make("code", "", said(step)),
    number(step.bytes),
    meaning ? t(meaning) : "",
  );
  line.dataset.step = meaning ?? "";
  return line;
}

function said({ method, target, status, text }) {
  if (method) return [`${method} ${target.split("?")[0]}`, cut(text)].filter(Boolean).join(" · ");
  return [status, cut(text)].filter(Boolean).join(" · ");
}

// What separates packets is no character that one sees.
function cut(text) {
  const seen = text.replaceAll("\x1e", "␞").replace(/h{20,}/, "hhh…");
  return seen.length > SHOWN ? `${seen.slice(0, SHOWN)}…` : seen;
}
