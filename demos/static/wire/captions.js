// The page's explanations, as comments of the packets in a capture file.

import { Blocks } from "./blocks.js";
import { explain } from "./explain.js";
import { isPayload } from "./payload.js";

// A packet with hundreds of frames needs no hundreds of comments.
const MAX_CAPTIONS = 4; // of one record
// A file with more could be too large to be opened again.
const MAX_CHARACTERS = 4 * 2 ** 20; // of all captions

/** The records, each with what starts in it; a record with comments keeps them. */
export function withCaptions(records) {
  const blocks = new Blocks();
  let left = MAX_CHARACTERS;
  return records.map((record) => {
    blocks.feed(record);
    const fresh = blocks.take();
    if (record.comments || left <= 0 || !fresh.length) return record;
    const comments = fresh.slice(0, MAX_CAPTIONS).map(caption);
    left -= comments.join("").length;
    return { ...record, comments };
  });
}

function caption(block) {
  const parts = new Set([block.parts[0], block.parts.find(isPayload)]);
  const explained = [...parts].filter(Boolean).map((part) => explain(part, block));
  return explained.map(({ title, text, section }) => `${title} · ${text} ${section}`.trim()).join("\n");
}
