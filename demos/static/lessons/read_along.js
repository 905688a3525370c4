// Read the room a second time, by hand, and note where everything ends: each piece as `reader.read()`
// gave it, each HTTP chunk as the tap saw it, each line.  All are counted in bytes of the body.

import { address, ask } from "../ask.js";
import { t } from "../words.js";
import { openTap } from "../wire/tap.js";
import { chunkReader } from "./chunks.js";
import { borrowNetwork, pause, stranger } from "./parts.js";

const VOICES = 4;
const LINE_END = 10;
const PATIENCE = 20_000;
// The tap tells a moment later than the stream.
const TAP_IS_LATE = 300;

/** `{pieces, chunks, lines}`: each a list of {from, to}. */
export async function readAlong(room, text) {
  const network = text && await borrowNetwork(text);
  if (text && !network) throw new Error(t("lesson.no-networks"));
  // A secret of its own, so that what the tap tells is this one stream.
  const tap = await openTap();
  const stop = new AbortController();
  try {
    return await read(room, network?.base, tap, stop.signal);
  } finally {
    stop.abort();
    tap.close();
    network?.giveBack();
  }
}

async function read(room, base, tap, aborted) {
  const seen = { pieces: [], chunks: [], lines: [] };
  const feed = chunkReader((data) => data.length && append(seen.chunks, data.length));
  tap.on(({ direction, bytes }) => direction === "down" && feed(bytes));

  const query = { after: "now", trace: tap.secret };
  const signal = AbortSignal.any([aborted, AbortSignal.timeout(PATIENCE)]);
  const response = await ask(address(room, "fetch_streaming", query, base), { signal });
  sayTogether(room);
  const reader = response.body.getReader();
  while (seen.lines.length < VOICES) {
    const { done, value } = await reader.read();
    if (done) break;
    append(seen.pieces, value.length);
    noteLines(seen.lines, seen.pieces.at(-1).from, value);
  }
  await pause(TAP_IS_LATE);
  return seen;
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

// At once, by as many: the server writes together what comes together.
function sayTogether(room) {
  for (let n = 1; n <= VOICES; n++) {
    stranger(room).say(t("lesson.fetch.said", { n }), "fetch_streaming").said.catch(() => {});
  }
}
