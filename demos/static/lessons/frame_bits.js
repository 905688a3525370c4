// A frame, bit by bit (RFC 6455 §5.2), and the unmasking of its payload, byte by byte (§5.3).

import { el } from "../dom.js";
import { number, t } from "../i18n.js";
import { unmask } from "../wire/frames.js";
import { hex } from "./helpers.js";

const NAMES = { 0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong" };
const MAX_UNMASKED = 24; // bytes that are shown one by one

export function opcodeName(opcode) {
  return NAMES[opcode] ?? t("lesson.ws.reserved");
}

/** Split a captured frame: its head's values, its bytes, its payload before and after unmasking. */
export function readFrame(message, bytes) {
  const { direction, opcode, masked, mask, length } = message;
  const payload = bytes.slice(bytes.length - length);
  const plain = masked ? unmask(payload, mask) : payload;
  const seven = bytes[1] & 0x7f;
  const extended = { 126: 2, 127: 8 }[seven] ?? 0;
  return { bytes, direction, opcode, masked, mask, length, payload, plain, seven, extended };
}

/** The payload as text; of a close frame its code and reason (§5.5.1). */
export function payloadText({ opcode, plain }) {
  if (opcode !== 8 || plain.length < 2) return new TextDecoder().decode(plain);
  return `${(plain[0] << 8) | plain[1]} ${new TextDecoder().decode(plain.slice(2))}`.trim();
}

// --- the bits of the head --------------------------------------------------------------------------

/** A table of eight bits to a row, with the meaning of the bits below each byte. */
export function bitTable(frame) {
  const { bytes, seven, extended, masked, opcode } = frame;
  const length = extended ? t("lesson.ws.bit-length-more", { seven, bytes: extended }) : t("lesson.ws.bit-length", { seven });
  const rows = [
    byteRows(bytes[0], [[1, "FIN"], [1, "RSV1"], [1, "RSV2"], [1, "RSV3"], [4, t("lesson.ws.bit-opcode", { name: opcodeName(opcode) })]]),
    byteRows(bytes[1], [[1, "MASK"], [7, length]]),
    ...bytesRows(bytes.slice(2, 2 + extended), t("lesson.ws.bit-extended", { length: number(frame.length) })),
    ...(masked ? bytesRows(frame.mask, t("lesson.ws.bit-mask")) : []),
  ];
  return el("tbody", "", ...rows.flat());
}

function bytesRows(bytes, label) {
  return [...bytes].map((byte, i) => byteRows(byte, [[8, `${label} ${i + 1}/${bytes.length}`]]));
}

function byteRows(byte, fields) {
  const bits = byte.toString(2).padStart(8, "0");
  const head = el("th", "", el("code", "", hex(byte)));
  head.scope = "row";
  head.rowSpan = 2;
  const edges = new Set();
  fields.reduce((at, [width]) => edges.add(at) && at + width, 0);
  const cells = [...bits].map((bit, i) => el("td", `bit${edges.has(i) ? " edge" : ""}${bit === "1" ? " one" : ""}`, bit));
  const labels = fields.map(([width, label]) => {
    const cell = el("td", "label edge", label);
    cell.colSpan = width;
    return cell;
  });
  return [el("tr", "", head, ...cells), el("tr", "", ...labels)];
}

// --- the mask ----------------------------------------------------------------------------------------

/** Byte ⊕ mask = text, one column for each of the first bytes. */
export function unmasking({ payload, mask, plain }) {
  return [...payload.slice(0, MAX_UNMASKED)].map((byte, i) => el(
    "li", `key-${i % 4}`,
    el("code", "", hex(byte)),
    el("code", "mask", `⊕${hex(mask[i % 4])}`),
    el("code", "", `=${hex(plain[i])}`),
    el("code", "letter", letter(plain[i])),
  ));
}

/** How many bytes of the payload are not shown one by one. */
export function hiddenBytes({ length }) {
  return Math.max(0, length - MAX_UNMASKED);
}

// A byte of a longer character is not a letter by itself.
function letter(byte) {
  return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·";
}
