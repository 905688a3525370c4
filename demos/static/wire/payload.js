// What a payload says, whichever transport wrapped it: the texts of the chat within its bytes.

import { unmask } from "./frames.js";
import { join } from "./http.js";

const PAYLOADS = ["body", "chunk-data", "frame-payload"];
const TEXT = /"text":\s*"((?:[^"\\]|\\.)*)"/g;
// The same in the frames of SockJS, where JSON stands in a string of JSON.
const QUOTED = /\\"text\\":\\"((?:[^"\\]|\\[^"]|\\\\\\")*)\\"/g;

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
  const found = [...text.matchAll(TEXT), ...text.matchAll(QUOTED)];
  for (const [, words] of found) bytes += new TextEncoder().encode(words).length;
  return bytes;
}

/** What kind of payload this is: a key of words, and where it is written down. */
export function kindOfPayload(block) {
  const { transport, opcode } = block.message;
  if (opcode >= 8) return "control";
  const text = new TextDecoder().decode(payloadOf(block));
  if (transport === "sockjs" && sessions[transport].test(text)) return sockjsFrame(text);
  if (transport === "socketio" && sessions[transport].test(text)) return enginePacket(text);
  if (block.message.kind === "frame") return "frame";
  if (block.direction === "up") return "post";
  if (["sse", "fetch_streaming", "iframe_streaming"].includes(transport)) {
    return isHeartbeat(text) ? "heartbeat" : transport;
  }
  return "json";
}

// What stands in front of it says what it is: a letter of SockJS, digits of Engine.IO and Socket.IO.
const sessions = {
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
