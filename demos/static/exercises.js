// Exercises: predict, run, explain.  A prediction comes first, because it makes the result memorable; it is
// stored in this browser only.  The answer stays closed until the student opens it.

import { el } from "./dom.js";
import { number, t, translate } from "./i18n.js";
import { local } from "./storage.js";

// The exercises of each page, and the correct prediction.
const EXERCISES = {
  lab: {
    lab_race: "b", lab_price: "c", lab_buffer: "a", lab_plug: "c", lab_six: "b", lab_h2: "c",
    lab_sticky: "c",
  },
  short_polling: { short_silence: "c", short_interval: "b", short_plug: "b" },
  long_polling: { long_transits: "c", long_heads: "b", long_buffer: "a", long_idle: "b" },
  iframe_streaming: { iframe_stop: "c", iframe_buffer: "b", iframe_memory: "b" },
  sse: { sse_price: "c", sse_buffer: "c", sse_idle: "b", sse_plug: "b" },
  fetch_streaming: { fetch_up: "b", fetch_flush: "b", fetch_pause: "c" },
  websocket: { ws_head: "b", ws_buffer: "a", ws_silence: "b", ws_plug: "c" },
  sockjs: { sockjs_first: "c", sockjs_forbid: "a", sockjs_lost: "b" },
  socketio: { socketio_upgrade: "b", socketio_polling: "c", socketio_sticky: "a" },
  webtransport: { wt_loss: "b", wt_stream: "c", wt_datagrams: "a" },
};
const LETTERS = ["a", "b", "c"];
const PREFIX = "exercise.";

const RIGHT = Object.assign({}, ...Object.values(EXERCISES));

/** The names of all exercises. */
export const EXERCISE_IDS = Object.keys(RIGHT);

/** The correct prediction of an exercise. */
export function rightChoice(id) {
  return RIGHT[id];
}

/** An element with a text of an exercise: `ask`, `title` or the letter of a choice. */
export function exerciseText(tag, id, part) {
  const element = translated(tag, key(id, part));
  element.innerHTML = t(key(id, part)); // our own text, which contains markup
  return element;
}

/** Fill `element` with the exercises of a page: a transport's, or `lab`. */
export function showExercises(element, page) {
  const intro = el("p", "small", t("exercise.intro"));
  const list = Object.entries(EXERCISES[page]);
  element.append(intro, ...list.map(([id, right], n) => exercise(id, right, n + 1)));
}

function exercise(id, right, n) {
  const title = el("h3", { id: `exercise-${id}` }, `${number(n)} · ${t(key(id, "title"))}`);
  const section = el("section", "exercise", title, prediction(id), steps(id), answer(id, right));
  section.dataset.exercise = id;
  section.setAttribute("aria-labelledby", title.id);
  translate(section);
  return section;
}

function key(id, part) {
  return `exercise.${id}.${part}`;
}

// --- predict -------------------------------------------------------------------------------------

function prediction(id) {
  const predicted = load(id);
  const fields = el(
    "fieldset", "predict",
    el("legend", "", t("exercise.predict")),
    translated("p", key(id, "ask")),
    ...LETTERS.map((letter) => choice(id, letter, predicted.choice)),
    reason(predicted.because),
  );
  fields.addEventListener("input", () => save(id, read(fields)));
  return fields;
}

function choice(id, letter, chosen) {
  const checked = letter === chosen;
  const radio = el("input", { type: "radio", name: id, value: letter, checked });
  return el("label", "choice", radio, translated("span", key(id, letter)));
}

function reason(value = "") {
  const input = el("input", { type: "text", maxLength: 500, value, autocomplete: "off" });
  return el("label", "because", t("exercise.because"), input);
}

function read(fields) {
  const choice = fields.querySelector(":checked")?.value;
  return { choice, because: fields.querySelector(".because input").value };
}

function save(id, predicted) {
  local.set(PREFIX + id, JSON.stringify(predicted));
}

function load(id) {
  try {
    return JSON.parse(local.get(PREFIX + id) ?? null) ?? {};
  } catch {
    return {}; // another program has stored something under this key
  }
}

// --- run, explain ----------------------------------------------------------------------------------

function steps(id) {
  return el("div", "run", el("h4", "", t("exercise.run")), translated("ol", key(id, "run")));
}

function answer(id, right) {
  const verdict = el("p", "verdict");
  const summary = el("summary", "", t("exercise.explain"));
  const details = el("details", "answer", summary, verdict, translated("div", key(id, "answer")));
  details.addEventListener("toggle", () => { if (details.open) judge(id, right, verdict); });
  return details;
}

function judge(id, right, verdict) {
  const { choice } = load(id);
  const how = !choice ? "unpredicted" : choice === right ? "right" : "other";
  verdict.dataset.how = how;
  const text = (letter) => plainText(t(key(id, letter)));
  verdict.textContent = t(`exercise.verdict.${how}`, {
    predicted: choice && text(choice), right: text(right),
  });
}

// --- elements --------------------------------------------------------------------------------------

// The texts of an exercise are our own and contain markup, so `translate` fills this element.
function translated(tag, textKey) {
  const element = el(tag);
  element.dataset.i18n = textKey;
  return element;
}

function plainText(markup) {
  return new DOMParser().parseFromString(markup, "text/html").body.textContent;
}
