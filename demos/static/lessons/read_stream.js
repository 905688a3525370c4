// Read a streaming response by hand, and record the boundaries of each read (`reader.read()`), each HTTP
// chunk (as the tap sees it), and each line.  All are byte offsets in the body.

import { request, roomUrl } from "../api.js";
import { t } from "../i18n.js";
import { uuid } from "../publish.js";
import { openTap } from "../wire/tap.js";
import { sleep, testUser } from "./helpers.js";
import { watchChunks } from "./watch.js";

const LIVE = 4; // messages at the same moment
const BACKLOG = 40; // messages before we connect: fewer than the 50 that a new reader receives
const LENGTH = 1100; // characters of each of those, of up to three bytes: below the limit of 4 096
const BUFFER = 5000; // bytes of a reader's own buffer
const LINE_FEED = 10;
const TIMEOUT = 20_000;
// The tap reports later than the stream.
const TAP_DELAY = 300;

/** Four users publish at once while we read: `{lines, chunks, reads}`, each a list of {from, to}. */
export function readLive(room) {
  return readStream(room, "now", LIVE, () => void publishMany(room, LIVE));
}

/** Forty users have published long messages before we connect, so all of it is there to read. */
export async function readBacklog() {
  // In a separate room, so that the chat stays short.
  const room = `at-length-${uuid()}`;
  const words = t("lesson.fetch.at-length");
  await Promise.all(publishMany(room, BACKLOG, words.repeat(LENGTH / words.length)));
  return readStream(room, undefined, BACKLOG, () => {}, BUFFER);
}

async function readStream(room, after, count, onOpen, bufferSize) {
  // A separate tap, so that all chunks belong to this stream.
  const tap = await openTap();
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(TIMEOUT)]);
  const result = { lines: [], chunks: [], reads: [], splitCharacters: 0, cutByPage: false };
  watchChunks(tap, "fetch_streaming", (data) => append(result.chunks, data.length));
  try {
    const url = roomUrl(room, "fetch_streaming", { after, trace: tap.secret });
    const response = await request(url, { signal });
    onOpen();
    const read = readFunction(response.body, bufferSize, () => { result.cutByPage = true; });
    await readLines(read, result, count);
    await sleep(TAP_DELAY);
    return result;
  } finally {
    stop.abort();
    tap.close();
  }
}

/**
 * The function that reads the next bytes: at most `bufferSize`.  WebKit has no reader with a buffer of
 * ours ("byob"): there the page cuts what it has read, and calls `onCut`.
 */
function readFunction(body, bufferSize, onCut) {
  if (!bufferSize) {
    const reader = body.getReader();
    return () => reader.read();
  }
  try {
    const reader = body.getReader({ mode: "byob" });
    return () => reader.read(new Uint8Array(bufferSize));
  } catch {
    onCut();
    return cutReads(body.getReader(), bufferSize);
  }
}

function cutReads(reader, size) {
  let rest = new Uint8Array();
  return async () => {
    if (!rest.length) {
      const { done, value } = await reader.read();
      if (done) return { done };
      rest = value;
    }
    const value = rest.subarray(0, size);
    rest = rest.subarray(size);
    return { done: false, value };
  };
}

async function readLines(read, result, count) {
  while (countMessages(result.lines) < count) {
    const { done, value } = await read();
    if (done) return;
    // 10xxxxxx continues a character that started in the previous read.
    if (value[0] >> 6 === 0b10) result.splitCharacters += 1;
    append(result.reads, value.length);
    appendLines(result.lines, result.reads.at(-1).from, value);
  }
}

function append(list, length) {
  const from = list.at(-1)?.to ?? 0;
  list.push({ from, to: from + length });
}

// A line may have started in an earlier read.
function appendLines(lines, from, bytes) {
  bytes.forEach((byte, i) => {
    if (byte === LINE_FEED) append(lines, from + i + 1 - (lines.at(-1)?.to ?? 0));
  });
}

// A heartbeat is a line of its line feed alone.
function countMessages(lines) {
  return lines.filter(({ from, to }) => to - from > 1).length;
}

// Each message from another user, because the server limits the rate of one.
function publishMany(room, count, words = "") {
  return Array.from({ length: count }, (_, i) => {
    const text = `${t("lesson.fetch.said", { n: i + 1 })} ${words}`;
    return testUser(room).send(text, "fetch_streaming").done.catch(() => {});
  });
}
