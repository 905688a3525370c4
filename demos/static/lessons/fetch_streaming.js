// The lesson of fetch streaming: one message is a line, one write of the server is an HTTP chunk, and one
// `read()` returns what the network has delivered.  Their boundaries differ.  And what compression changes.

import { el } from "../dom.js";
import { t } from "../i18n.js";
import { drawStrips } from "./byte_strips.js";
import { COMPRESSION, showCompression } from "./compression.js";
import { failure, fillLesson, hex, onClick } from "./helpers.js";
import { readBacklog, readLive } from "./read_stream.js";

const WORD = "é你😀";
const MAX_BYTES = 40; // of the word that is split

const PAGE = `
  <h2 data-i18n="lesson.fetch.title"></h2>
  <p data-i18n="lesson.fetch.idea"></p>
  <p class="controls"><button type="button" data-part="say" data-i18n="lesson.fetch.say"></button>
    <button type="button" data-part="late" data-i18n="lesson.fetch.late"></button>
    <span data-part="trouble" role="status"></span></p>
  <div data-part="strips" class="strips"></div>
  <p data-part="summary" class="small"></p>
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
  const part = fillLesson(element, PAGE + COMPRESSION);
  onClick(part("say"), () => show(readLive(room)));
  onClick(part("late"), () => show(readBacklog()));
  part("word").addEventListener("input", () => showSplit(part));
  part("at").addEventListener("input", () => showSplit(part));
  showSplit(part);
  showCompression(part);

  async function show(reading) {
    part("trouble").textContent = "";
    try {
      const result = await reading;
      drawStrips(part("strips"), result);
      part("summary").textContent = summary(result);
    } catch (error) {
      part("trouble").textContent = failure(error);
    }
  }
}

function summary({ lines, chunks, reads, splitCharacters: halves, cutByPage }) {
  const ends = new Set(lines.map(({ to }) => to));
  const within = reads.filter(({ to }) => !ends.has(to)).length;
  const text = t("lesson.fetch.summary", {
    lines: lines.length, chunks: chunks.length, pieces: reads.length, within, halves,
  });
  return cutByPage ? `${text} ${t("lesson.fetch.cut-by-page")}` : text;
}

// --- a character in two chunks ---------------------------------------------------------------------

function showSplit(part) {
  const bytes = new TextEncoder().encode(part("word").value).slice(0, MAX_BYTES);
  part("at").max = bytes.length;
  const at = Math.min(part("at").value, bytes.length);
  part("bytes").replaceChildren(...[...bytes].map((byte, i) => byteBox(byte, i === at)));
  const chunks = [bytes.slice(0, at), bytes.slice(at)];
  part("apart").replaceChildren(...decodeSeparately(chunks).map(quoted));
  part("together").replaceChildren(...decodeAsStream(chunks).map(quoted));
}

// 0xxxxxxx is a whole character, 11xxxxxx starts one, 10xxxxxx continues it (RFC 3629 §3).
function byteBox(byte, cut) {
  const kind = byte >> 6 === 0b10 ? "goes-on" : "begins";
  const bits = byte.toString(2).padStart(8, "0");
  const box = el("li", kind, el("code", "", hex(byte)), el("small", "", bits));
  if (cut) box.classList.add("cut");
  return box;
}

function decodeSeparately(chunks) {
  return chunks.map((chunk) => new TextDecoder().decode(chunk));
}

function decodeAsStream(chunks) {
  const decoder = new TextDecoder();
  return chunks.map((chunk) => decoder.decode(chunk, { stream: true }));
}

function quoted(text) {
  return el("q", "", el("bdi", "", text));
}
