// What a payload says, whichever transport wrapped it: the texts of the chat within its bytes.

import { unmask } from "./frames.js";
import { join } from "./http.js";

const PAYLOADS = ["body", "chunk-data", "frame-payload"];
const TEXT = /"text":\s*"((?:[^"\\]|\\.)*)"/g;

/** The bytes of a block that are no head, chunk border or mask; without their mask. */
export function payloadOf(block) {
  const bytes = join([new Uint8Array(), ...block.parts.filter(isPayload).map((part) => part.bytes)]);
  const { mask } = block.message;
  return mask ? unmask(bytes, mask) : bytes;
}

export function isPayload({ kind }) {
  return PAYLOADS.includes(kind);
}

/** How many bytes of a block are words that somebody said. */
export function wordsIn(block) {
  const text = new TextDecoder().decode(payloadOf(block)).replaceAll("&#34;", '"');
  let bytes = 0;
  for (const [, words] of text.matchAll(TEXT)) bytes += new TextEncoder().encode(words).length;
  return bytes;
}

/** What kind of payload this is: a key of words, and where it is written down. */
export function kindOfPayload(block) {
  const { transport, opcode } = block.message;
  if (block.message.kind === "frame") return opcode >= 8 ? "control" : "frame";
  if (block.direction === "up") return "post";
  const text = new TextDecoder().decode(payloadOf(block));
  if (["sse", "fetch_streaming", "iframe_streaming"].includes(transport)) {
    return isHeartbeat(text) ? "heartbeat" : transport;
  }
  return "json";
}

function isHeartbeat(text) {
  return text.trim() === "" || text.trim() === ":";
}
