// Read a room by hand, and note where everything ends: each piece as `reader.read()` gave it, each HTTP
// chunk as the tap saw it, each line.  All are counted in bytes of the body.

import { address, ask } from "../ask.js";
import { uuid } from "../send.js";
import { t } from "../words.js";
import { openTap } from "../wire/tap.js";
import { pause, stranger } from "./parts.js";
import { watchChunks } from "./watch.js";

const TOGETHER = 4; // speak at the same moment
const LATE = 40; // have spoken before anybody listens: fewer than the 50 that a newcomer is told
const LENGTH = 1100; // characters of what those say, of up to three bytes: below the 4 096 allowed
const AT_ONCE = 5000; // bytes that a page with little room asks for
const LINE_END = 10;
const PATIENCE = 20_000;
// The tap tells a moment later than the stream.
const TAP_IS_LATE = 300;

/** Four speak at once, while we listen: `{lines, chunks, pieces}`, each a list of {from, to}. */
export function hearTogether(room) {
  return readAlong(room, "now", TOGETHER, () => void speak(room, TOGETHER));
}

/** Forty have spoken at length, and we come late: all of it is there to be read. */
export async function hearLate() {
  // In a room of its own, so that nobody else has to read it.
  const room = `at-length-${uuid()}`;
  const words = t("lesson.fetch.at-length");
  await Promise.all(speak(room, LATE, words.repeat(LENGTH / words.length)));
  return readAlong(room, undefined, LATE, () => {}, AT_ONCE);
}

async function readAlong(room, after, count, begin, most) {
  // A secret of its own, so that what this tap tells is of this one stream.
  const tap = await openTap();
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(PATIENCE)]);
  const seen = { lines: [], chunks: [], pieces: [], halves: 0 };
  watchChunks(tap, "fetch_streaming", (data) => append(seen.chunks, data.length));
  try {
    const url = address(room, "fetch_streaming", { after, trace: tap.secret });
    const response = await ask(url, { signal });
    begin();
    await readLines(pieceReader(response.body, most), seen, count);
    await pause(TAP_IS_LATE);
    return seen;
  } finally {
    stop.abort();
    tap.close();
  }
}

/** A function that reads the next piece: of at most so many bytes, where the browser can do that. */
function pieceReader(body, most) {
  try {
    const reader = body.getReader({ mode: most ? "byob" : undefined });
    return () => reader.read(most && new Uint8Array(most));
  } catch {
    const reader = body.getReader();
    return () => reader.read();
  }
}

async function readLines(read, seen, count) {
  while (seen.lines.length < count) {
    const { done, value } = await read();
    if (done) return;
    // 10xxxxxx goes on with a character that the piece before has begun.
    if (value[0] >> 6 === 0b10) seen.halves += 1;
    append(seen.pieces, value.length);
    noteLines(seen.lines, seen.pieces.at(-1).from, value);
  }
}

function append(list, length) {
  const from = list.at(-1)?.to ?? 0;
  list.push({ from, to: from + length });
}

// A line may have begun in the piece before; a heartbeat is a line of its end alone.
function noteLines(lines, from, bytes) {
  bytes.forEach((byte, i) => {
    if (byte === LINE_END) append(lines, from + i + 1 - (lines.at(-1)?.to ?? 0));
  });
}

// Each by a voice of its own: one alone may say no more than so much a second.
function speak(room, count, words = "") {
  return Array.from({ length: count }, (_, i) => {
    const text = `${t("lesson.fetch.said", { n: i + 1 })} ${words}`;
    return stranger(room).say(text, "fetch_streaming").said.catch(() => {});
  });
}
