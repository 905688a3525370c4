// Exercises: predict, run, explain.  A prediction comes first, since whoever has not guessed is not
// surprised; it is kept in this browser and goes nowhere.  The answer stays folded until it is asked for.

import { make } from "./make.js";
import { number, t, translate } from "./words.js";

// The exercises of each page, and the prediction that comes true.
const EXERCISES = {
  lab: {
    lab_race: "b", lab_price: "c", lab_buffer: "a", lab_plug: "c", lab_six: "b", lab_sticky: "c",
  },
  short_polling: { short_silence: "c", short_interval: "b", short_plug: "b" },
  long_polling: { long_transits: "c", long_heads: "b", long_buffer: "a", long_idle: "b" },
  iframe_streaming: { iframe_stop: "c", iframe_buffer: "b", iframe_memory: "b" },
  sse: { sse_price: "c", sse_buffer: "c", sse_idle: "b", sse_plug: "b" },
  fetch_streaming: { fetch_up: "b", fetch_flush: "b", fetch_pause: "c" },
  websocket: { ws_head: "b", ws_buffer: "a", ws_silence: "b", ws_plug: "c" },
  sockjs: { sockjs_first: "c", sockjs_forbid: "a", sockjs_lost: "b" },
  socketio: { socketio_upgrade: "b", socketio_polling: "c", socketio_sticky: "a" },
};
const LETTERS = ["a", "b", "c"];
const OURS = "realtime.exercise.";

/** Fill `element` with the exercises of a page: a transport's, or `lab`. */
export function showExercises(element, page) {
  const intro = make("p", "small");
  intro.textContent = t("exercise.intro");
  const list = Object.entries(EXERCISES[page]);
  element.append(intro, ...list.map(([id, right], n) => exercise(id, right, n + 1)));
}

function exercise(id, right, n) {
  const part = make("section", "exercise");
  part.dataset.exercise = id;
  const title = make("h3");
  title.id = `exercise-${id}`;
  title.textContent = `${number(n)} · ${t(key(id, "title"))}`;
  part.setAttribute("aria-labelledby", title.id);
  part.append(title, prediction(id), steps(id), answer(id, right));
  translate(part);
  return part;
}

function key(id, part) {
  return `exercise.${id}.${part}`;
}

// --- predict -------------------------------------------------------------------------------------

function prediction(id) {
  const predicted = recall(id);
  const fields = make("fieldset", "predict");
  const legend = document.createElement("legend");
  legend.textContent = t("exercise.predict");
  fields.append(legend, marked("p", key(id, "ask")));
  fields.append(...LETTERS.map((letter) => choice(id, letter, predicted.choice)));
  fields.append(reason(predicted.because));
  fields.addEventListener("input", () => remember(id, read(fields)));
  return fields;
}

function choice(id, letter, chosen) {
  const label = make("label", "choice");
  const radio = document.createElement("input");
  Object.assign(radio, { type: "radio", name: id, value: letter, checked: letter === chosen });
  label.append(radio, marked("span", key(id, letter)));
  return label;
}

function reason(said = "") {
  const label = make("label", "because");
  const text = document.createElement("input");
  Object.assign(text, { type: "text", maxLength: 500, value: said, autocomplete: "off" });
  label.append(t("exercise.because"), text);
  return label;
}

function read(fields) {
  const choice = fields.querySelector(":checked")?.value;
  return { choice, because: fields.querySelector(".because input").value };
}

function remember(id, predicted) {
  localStorage.setItem(OURS + id, JSON.stringify(predicted));
}

function recall(id) {
  try {
    return JSON.parse(localStorage.getItem(OURS + id)) ?? {};
  } catch {
    return {}; // not of our writing
  }
}

// --- run, explain ----------------------------------------------------------------------------------

function steps(id) {
  const run = make("div", "run");
  const title = document.createElement("h4");
  title.textContent = t("exercise.run");
  run.append(title, marked("ol", key(id, "run")));
  return run;
}

function answer(id, right) {
  const fold = make("details", "answer");
  const summary = document.createElement("summary");
  summary.textContent = t("exercise.explain");
  const verdict = make("p", "verdict");
  fold.append(summary, verdict, marked("div", key(id, "answer")));
  fold.addEventListener("toggle", () => { if (fold.open) judge(id, right, verdict); });
  return fold;
}

function judge(id, right, verdict) {
  const { choice } = recall(id);
  const how = !choice ? "unpredicted" : choice === right ? "right" : "other";
  verdict.dataset.how = how;
  const text = (letter) => plain(t(key(id, letter)));
  verdict.textContent = t(`exercise.verdict.${how}`, {
    predicted: choice && text(choice), right: text(right),
  });
}

// --- elements --------------------------------------------------------------------------------------

// The words of an exercise are our own and marked up.
function marked(tag, words) {
  const element = make(tag);
  element.dataset.i18n = words;
  return element;
}

function plain(markup) {
  return new DOMParser().parseFromString(markup, "text/html").body.textContent;
}
