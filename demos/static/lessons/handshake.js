// The handshake of this page's connection, step by step (RFC 6455 §4.2.2): the key that the browser sent,
// the value that the server must compute from it, and whether the response has that value.

import { el } from "../dom.js";
import { t } from "../i18n.js";
import { hex } from "./helpers.js";
import { sha1 } from "./sha1.js";

// RFC 6455 §1.3: a string that a server without WebSocket is unlikely to use.
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
// The example of §1.3, shown before there is a real handshake.
export const EXAMPLE = { key: "dGhlIHNhbXBsZSBub25jZQ==", accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" };

/** Fill `list` with the steps from `key` to the expected value; `accept` is the value in the response. */
export function showSteps(list, key, accept) {
  const digest = sha1(new TextEncoder().encode(key + GUID));
  const expected = btoa(String.fromCharCode(...digest));
  list.replaceChildren(
    step("key", "§4.1", code(key), bytes(fromBase64(key))),
    step("guid", "§1.3", el("code", "", key, el("mark", "", GUID))),
    step("sha1", "§4.2.2", bytes(digest)),
    step("base64", "§4.2.2", code(expected)),
    step("answer", "§4.2.2", code(accept ?? "–"), verdict(expected === accept)),
  );
}

function step(name, section, ...content) {
  const source = el("small", "", `RFC 6455 ${section}`);
  const title = el("p", "", t(`lesson.ws.step-${name}`), " ", source);
  const line = el("li", "", title, el("p", "", ...content));
  line.dataset.step = name;
  return line;
}

function verdict(same) {
  const line = el("b", "", t(same ? "lesson.ws.same" : "lesson.ws.different"));
  line.dataset.same = same;
  return line;
}

function bytes(some) {
  return el("code", "octets", ...[...some].map((byte) => el("span", "", hex(byte))));
}

function code(text) {
  return el("code", "", text);
}

// A key that the user has edited may be invalid.
function fromBase64(text) {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt());
  } catch {
    return [];
  }
}
