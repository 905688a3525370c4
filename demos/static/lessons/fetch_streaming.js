// The lesson of the stream that is read by hand: what the server wrote as one, what the network handed
// over as one, and what was said as one are three different things.

import { t } from "../words.js";
import { hearLate, hearTogether } from "./read_along.js";
import { make } from "../make.js";
import { excuse, fillLesson, hex, whilePressed } from "./parts.js";
import { drawStrips } from "./strips.js";

const WORD = "é你😀";
const LONGEST = 40; // bytes of the word that is cut

const PAGE = `
  <h2 data-i18n="lesson.fetch.title"></h2>
  <p data-i18n="lesson.fetch.idea"></p>
  <p class="controls"><button type="button" data-part="say" data-i18n="lesson.fetch.say"></button>
    <button type="button" data-part="late" data-i18n="lesson.fetch.late"></button>
    <span data-part="trouble" role="status"></span></p>
  <div data-part="strips" class="strips"></div>
  <p data-part="told" class="small"></p>
  <h3 data-i18n="lesson.fetch.cut-title"></h3>
  <p data-i18n="lesson.fetch.cut"></p>
  <p class="controls"><label><span data-i18n="lesson.fetch.word"></span>
    <input data-part="word" maxlength="12" value="${WORD}"></label>
    <label><span data-i18n="lesson.fetch.cut-at"></span>
    <input type="range" data-part="at" min="0" max="9" value="3"></label></p>
  <ol data-part="bytes" class="bytes"></ol>
  <dl class="decoded">
    <dt><code>new TextDecoder().decode(piece)</code> <span data-i18n="lesson.fetch.apart"></span></dt>
    <dd data-part="apart"></dd>
    <dt><code>decoder.decode(piece, { stream: true })</code> <span data-i18n="lesson.fetch.together"></span></dt>
    <dd data-part="together"></dd>
  </dl>`;

export function showLesson(element, { room }) {
  const part = fillLesson(element, PAGE);
  whilePressed(part("say"), () => show(hearTogether(room)));
  whilePressed(part("late"), () => show(hearLate()));
  part("word").addEventListener("input", () => showCut(part));
  part("at").addEventListener("input", () => showCut(part));
  showCut(part);

  async function show(reading) {
    part("trouble").textContent = "";
    try {
      const seen = await reading;
      drawStrips(part("strips"), seen);
      part("told").textContent = summary(seen);
    } catch (trouble) {
      part("trouble").textContent = excuse(trouble);
    }
  }
}

function summary({ lines, chunks, pieces, halves }) {
  const ends = new Set(lines.map(({ to }) => to));
  const within = pieces.filter(({ to }) => !ends.has(to)).length;
  return t("lesson.fetch.told", {
    lines: lines.length, chunks: chunks.length, pieces: pieces.length, within, halves,
  });
}

// --- a character in two pieces ---------------------------------------------------------------------

function showCut(part) {
  const bytes = new TextEncoder().encode(part("word").value).slice(0, LONGEST);
  part("at").max = bytes.length;
  const at = Math.min(part("at").value, bytes.length);
  part("bytes").replaceChildren(...[...bytes].map((byte, i) => byteBox(byte, i === at)));
  const pieces = [bytes.slice(0, at), bytes.slice(at)];
  part("apart").replaceChildren(...decodeApart(pieces).map(quoted));
  part("together").replaceChildren(...decodeTogether(pieces).map(quoted));
}

// 0xxxxxxx stands alone, 11xxxxxx begins a character, 10xxxxxx goes on with it (RFC 3629 §3).
function byteBox(byte, cut) {
  const kind = byte >> 6 === 0b10 ? "goes-on" : "begins";
  const box = make("li", kind, make("code", "", hex(byte)), make("small", "", byte.toString(2).padStart(8, "0")));
  if (cut) box.classList.add("cut");
  return box;
}

function decodeApart(pieces) {
  return pieces.map((piece) => new TextDecoder().decode(piece));
}

function decodeTogether(pieces) {
  const decoder = new TextDecoder();
  return pieces.map((piece) => decoder.decode(piece, { stream: true }));
}

function quoted(text) {
  return make("q", "", make("bdi", "", text));
}
