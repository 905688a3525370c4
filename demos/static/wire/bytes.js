// Bytes made visible: as text without invisible characters, or in hexadecimal.

import { unmask } from "./frames.js";
import { codingOf, isPayload } from "./payload.js";

const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069]/g;

/** A part as text: line ends are visible, and a masked payload is unmasked. */
export function asText(part, block) {
  if (["frame-head", "frame-length", "frame-mask"].includes(part.kind)) return asHex(part.bytes);
  if (isPayload(part) && codingOf(block.message)) return asHex(part.bytes);
  const { mask } = block.message;
  const masked = isPayload(part) && mask;
  const bytes = masked ? unmask(part.bytes, mask, offsetOf(part, block)) : part.bytes;
  return visible(new TextDecoder().decode(bytes));
}

/** Bytes as pairs of hexadecimal digits. */
export function asHex(bytes) {
  return `${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")} `;
}

// The bytes of payload before this part: the mask continues at this offset.
function offsetOf(part, block) {
  const index = block.parts.findIndex(({ bytes }) => bytes.buffer === part.bytes.buffer);
  const before = block.parts.slice(0, index).filter(isPayload);
  return before.reduce((sum, { bytes }) => sum + bytes.length, 0);
}

function visible(text) {
  return text
    .replace(CONTROLS, (character) => (character === "\r" ? "\\r" : escaped(character)))
    .replaceAll("\n", "\\n\n");
}

function escaped(character) {
  return `\\u${character.charCodeAt().toString(16).padStart(4, "0")}`;
}
