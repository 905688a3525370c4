// What a library does until the first message: each request, response and frame, in order.

import { el } from "../dom.js";
import { number, t } from "../i18n.js";
import { fillLesson, oncePerFrame, row } from "./helpers.js";
import { watchMessages } from "./watch.js";

// What a library does first is the lesson; the messages that follow are all alike.
const MAX_STEPS = 30;
const MAX_TEXT = 72; // characters

const PAGE = `
  <p class="controls"><button type="button" data-part="again" data-i18n="lesson.steps.again">Reconnect</button></p>
  <p data-part="sum" role="status"></p>
  <div class="scroll"><table class="steps-table">
    <thead><tr><th data-i18n="lesson.steps.when">when</th><th data-i18n="lesson.steps.way">direction</th>
      <th data-i18n="lesson.steps.what">what</th><th data-i18n="lesson.steps.bytes">bytes</th>
      <th data-i18n="lesson.steps.means">what it is for</th></tr></thead>
    <tbody data-part="steps"></tbody>
  </table></div>`;

/**
 * Show the steps of `transport` since its latest connection.  `meaning(step)` returns the key of a text or
 * undefined; `isFirst(step)` whether a connection starts, `hasEvent(text)` whether this is the first event.
 */
export function showSteps(element, { tap, reconnect }, { transport, meaning, isFirst, hasEvent }) {
  const part = fillLesson(element, PAGE);
  const [title, idea] = ["title", "idea"].map((name) => t(`lesson.${transport}.${name}`));
  element.prepend(el("h2", "", title), el("p", "", idea));
  let steps = [];
  let arrived;

  const draw = oncePerFrame(() => {
    part("steps").replaceChildren(...steps.map((step) => stepRow(step, steps[0], meaning(step))));
    part("sum").textContent = arrived ? summary(steps, arrived) : "";
  });
  watchMessages(tap, transport, (step) => {
    if (isFirst(step)) [steps, arrived] = [[], undefined];
    if (steps.length === MAX_STEPS) return;
    steps.push(step);
    if (!arrived && step.direction === "down" && hasEvent(step.text)) arrived = step;
    draw();
  });
  part("again").addEventListener("click", reconnect);
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
    el("code", "", stepText(step)),
    number(step.bytes),
    meaning ? t(meaning) : "",
  );
  line.dataset.step = meaning ?? "";
  return line;
}

function stepText({ method, target, status, text }) {
  if (method) return [`${method} ${target.split("?")[0]}`, shorten(text)].filter(Boolean).join(" · ");
  return [status, shorten(text)].filter(Boolean).join(" · ");
}

// U+001E, which separates packets, is invisible.
function shorten(text) {
  const visible = text.replaceAll("\x1e", "␞").replace(/h{20,}/, "hhh…");
  return visible.length > MAX_TEXT ? `${visible.slice(0, MAX_TEXT)}…` : visible;
}
