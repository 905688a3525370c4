// The payload of a block, whichever transport framed it, and the texts of the chat in it.

import { unmask } from "./frames.js";
import { concat } from "./http.js";

const PAYLOAD_PARTS = ["body", "chunk-data", "frame-payload", "line", "datagram"];
const TEXT = /"text":\s*"((?:[^"\\]|\\.)*)"/g;
// The same in SockJS frames, where JSON is a string inside JSON.
const QUOTED_TEXT = /\\"text\\":\\"((?:[^"\\]|\\[^"]|\\\\\\")*)\\"/g;

const RSV1 = 4; // of the three reserved bits (RFC 7692 §6)

/** How the payload of a message is compressed: "gzip", "zstd", "deflate", or undefined. */
export function codingOf({ kind, fields, rsv }) {
  if (kind === "frame") return rsv & RSV1 ? "deflate" : undefined;
  return fields?.get("content-encoding");
}

/** The bytes of a block without heads, chunk sizes and masks; unmasked, and inflated if that is possible. */
export function payloadOf(block) {
  if (block.plain) return block.plain;
  const bytes = concat([new Uint8Array(), ...block.parts.filter(isPayload).map((part) => part.bytes)]);
  const { mask } = block.message;
  return mask ? unmask(bytes, mask) : bytes;
}

export function isPayload({ kind }) {
  return PAYLOAD_PARTS.includes(kind);
}

/** The bytes of a part: of an encrypted packet only their number is known. */
export function sizeOf({ bytes, size = bytes.length }) {
  return size;
}

/** The payload of a block as text, also where it is an attribute of HTML. */
export function payloadText(block) {
  return new TextDecoder().decode(payloadOf(block)).replaceAll("&#34;", '"');
}

/** How many bytes of a payload are the texts of chat messages. */
export function textBytes(payload) {
  let bytes = 0;
  const found = [...payload.matchAll(TEXT), ...payload.matchAll(QUOTED_TEXT)];
  for (const [, text] of found) bytes += new TextEncoder().encode(text).length;
  return bytes;
}

/** The kind of a payload: the end of the keys of its name and explanation. */
export function payloadKind(block) {
  const { kind, transport, opcode } = block.message;
  if (kind === "line" || kind === "datagram") return kind;
  if (opcode >= 8) return "control";
  const text = new TextDecoder().decode(payloadOf(block));
  if (transport === "sockjs" && LIBRARY_FRAMES.sockjs.test(text)) return sockjsFrame(text);
  if (transport === "socketio" && LIBRARY_FRAMES.socketio.test(text)) return enginePacket(text);
  if (kind === "frame") return "frame";
  if (block.direction === "up") return "post";
  if (["sse", "fetch_streaming", "iframe_streaming"].includes(transport)) {
    return isHeartbeat(text) ? "heartbeat" : transport;
  }
  return "json";
}

// The prefix gives the type: a letter in SockJS, digits in Engine.IO and Socket.IO.
const LIBRARY_FRAMES = {
  sockjs: /^(data: )?[oahc](\[|\s|$)|^\["|^h{100}/,
  socketio: /^[0-6](\D|$)|^4[0-6]/,
};

function sockjsFrame(text) {
  const letter = text.replace(/^data: /, "")[0];
  return letter === "[" ? "sockjs.up" : `sockjs.${letter}`;
}

function enginePacket(text) {
  const known = ["2probe", "3probe", "40", "41", "42", "43", "0", "1", "2", "3", "5", "6"];
  return `socketio.${known.find((one) => text.startsWith(one)) ?? "42"}`;
}

function isHeartbeat(text) {
  return text.trim() === "" || text.trim() === ":";
}
