// The page's explanations, as comments of the packets in a capture file.

import { Blocks } from "./blocks.js";
import { explain } from "./explain.js";
import { isPayload } from "./payload.js";

/** The records, each with what starts in it; a record with comments keeps them. */
export function withCaptions(records) {
  const blocks = new Blocks();
  return records.map((record) => {
    blocks.feed(record);
    const fresh = blocks.take();
    const comments = record.comments ?? fresh.map(caption);
    return comments.length ? { ...record, comments } : record;
  });
}

function caption(block) {
  const parts = new Set([block.parts[0], block.parts.find(isPayload)]);
  const explained = [...parts].filter(Boolean).map((part) => explain(part, block));
  return explained.map(({ title, text, section }) => `${title} · ${text} ${section}`.trim()).join("\n");
}
