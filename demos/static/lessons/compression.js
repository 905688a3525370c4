// A part of the lesson of fetch streaming: what compression saves and costs, and why one compressed chunk can
// serve all readers, whenever they joined.

import { request, roomUrl } from "../api.js";
import { el } from "../dom.js";
import { explain, number, t } from "../i18n.js";
import { uuid } from "../publish.js";
import { openTap } from "../wire/tap.js";
import { failure, hex, onClick, row, sleep, testUser } from "./helpers.js";
import { watchChunks } from "./watch.js";

const TIMEOUT = 10_000;
const STEP = 50; // ms between two looks at what has arrived
const SHOWN_BYTES = 8; // of a chunk, in hexadecimal
// An event of 309 bytes, as docs/performance.md measures it: made alone, and with the history of a client.
const ALONE = { bytes: 219, micros: 14 };
const WITH_HISTORY = { bytes: 96, micros: 14, kilobytes: 65 };

export const COMPRESSION = `
  <h3 data-i18n="lesson.compression.title">Compression, once for all</h3>
  <p data-i18n="lesson.compression.idea">With <code>?encoding=gzip</code> the server compresses what it writes. Two readers ask for gzip; one
of them joins between two messages. A third asks for zstd. Compare the bytes of the second message.</p>
  <p class="controls"><button type="button" data-part="compress" data-i18n="lesson.compression.send">Send two messages to three readers</button>
    <span data-part="compress-trouble" role="status"></span></p>
  <div class="scroll"><table class="numbers"><thead><tr>
    <th data-i18n="lesson.compression.reader">reader</th><th data-i18n="lesson.compression.first">message 1, bytes</th>
    <th data-i18n="lesson.compression.second">message 2, bytes</th><th data-i18n="lesson.compression.start">message 2 starts with</th>
  </tr></thead><tbody data-part="compressed"></tbody></table></div>
  <p data-part="compress-summary" class="small"></p>
  <p data-i18n="lesson.compression.history">A compressor that remembers what it sent before makes the next message smaller still: it only says
“as before”. But each client has received something else before, so each needs its own compressor:
its own work at every delivery, and its own memory. This server compresses each chunk alone, once.
Move the number of readers.</p>
  <p class="controls"><label><span data-i18n="lesson.compression.readers">readers</span>
    <input type="range" data-part="readers" min="0" max="4" step="0.1" value="2">
    <output data-part="reader-count"></output></label></p>
  <div class="scroll"><table class="numbers"><thead><tr>
    <th data-i18n="lesson.compression.way">compressed</th><th data-i18n="lesson.compression.bytes">bytes of a message of 309</th>
    <th data-i18n="lesson.compression.cpu">CPU of a message</th><th data-i18n="lesson.compression.memory">memory</th>
  </tr></thead><tbody data-part="prices"></tbody></table></div>`;

export function showCompression(part) {
  const fill = (readers) => part("compressed").replaceChildren(...readers.map(readerRow));
  onClick(part("compress"), async () => {
    part("compress-trouble").textContent = part("compress-summary").textContent = "";
    try {
      const readers = await sendTwoMessages();
      fill(readers);
      part("compress-summary").textContent = summary(readers);
    } catch (error) {
      part("compress-trouble").textContent = failure(error);
    }
  });
  part("readers").addEventListener("input", () => showPrices(part));
  showPrices(part);
}

// --- the experiment --------------------------------------------------------------------------------

/** Three readers; one joins between the two messages: `[{name, encoding, plain, chunks}]`. */
async function sendTwoMessages() {
  const room = `compression-${uuid()}`; // separate, so that nothing else is sent there, not even a heartbeat
  const tap = await openTap(); // separate, so that all chunks belong to these readers
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(TIMEOUT)]);
  const readers = [];
  const reader = async (name, encoding) => {
    const one = { name, encoding, chunks: [], plain: [] };
    readers.push(one);
    await open(one, { room, tap, signal, number: readers.length });
    return one;
  };
  watchChunks(tap, "fetch_streaming", (data, { request: { target } }) => {
    readers[new URLSearchParams(target.split("?")[1]).get("reader") - 1]?.chunks.push(data);
  });
  try {
    const early = await reader("early", "gzip");
    await reader("zstd", "zstd").catch((error) => { readers.at(-1).trouble = error; });
    await say(1, room);
    await until(() => early.plain.length === 2, signal);
    const late = await reader("late", "gzip");
    await say(2, room);
    await until(() => readers.every(({ trouble, chunks }) => trouble || chunks.length >= 2), signal);
    await until(() => early.plain.length === 3 && late.chunks.length === 2, signal);
    return readers;
  } finally {
    stop.abort();
    tap.close();
  }
}

async function open(one, { room, tap, signal, number: n }) {
  const { encoding } = one;
  const url = roomUrl(room, "fetch_streaming", { after: "now", trace: tap.secret, encoding, reader: n });
  const body = (await request(url, { signal })).body.getReader();
  const read = async () => {
    for (;;) {
      const { done, value } = await body.read();
      if (done) return;
      one.plain.push(value.length);
    }
  };
  read().catch(() => {}); // it ends when the experiment stops
  await until(() => one.plain.length && one.chunks.length, signal);
}

function say(n, room) {
  return testUser(room).send(t("lesson.compression.said", { n }), "fetch_streaming").done;
}

async function until(done, signal) {
  while (!done()) {
    signal.throwIfAborted();
    await sleep(STEP);
  }
}

// --- what it shows -----------------------------------------------------------------------------------

function readerRow({ name, encoding, chunks, trouble }) {
  const title = t(`lesson.compression.${name}`, { encoding });
  if (trouble) return row(title, "–", "–", explain(trouble));
  const messages = chunks.slice(1); // after the chunk that opens the stream
  const [first, second] = messages.length === 2 ? messages : [undefined, messages[0]];
  const start = [...second.subarray(0, SHOWN_BYTES)].map(hex).join(" ");
  return row(title, first ? number(first.length) : "–", number(second.length), el("code", "", `${start} …`));
}

function summary([early, , late]) {
  const [mine, theirs] = [early.chunks.at(-1), late.chunks.at(-1)];
  const same = mine.length === theirs.length && mine.every((byte, n) => byte === theirs[n]);
  const plain = early.plain.at(-1);
  return t(`lesson.compression.${same ? "same" : "differ"}`, {
    bytes: number(mine.length), plain: number(plain), percent: number(Math.round(100 - (100 * mine.length) / plain)),
  });
}

function showPrices(part) {
  const readers = Math.round(10 ** part("readers").value);
  part("reader-count").textContent = number(readers);
  const micros = (value) => t("lesson.compression.micros", { micros: number(value) });
  const memory = (value) => t("lesson.compression.megabytes", { megabytes: number(Math.round(value) / 1000) });
  part("prices").replaceChildren(
    row(t("lesson.compression.once"), number(ALONE.bytes), micros(ALONE.micros), memory(0)),
    row(
      t("lesson.compression.each"), number(WITH_HISTORY.bytes), micros(WITH_HISTORY.micros * readers),
      memory(WITH_HISTORY.kilobytes * readers),
    ),
  );
}
