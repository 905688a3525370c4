// The handshake of this very connection, step by step (RFC 6455 §4.2.2): what the browser sent, what the
// server made of it, and whether it is what came back.

import { t } from "../words.js";
import { make } from "../make.js";
import { hex } from "./parts.js";
import { sha1 } from "./sha1.js";

// RFC 6455 §1.3: a text that no server has lying about by chance.
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
// The example of §1.3, for as long as there is no handshake to see.
export const EXAMPLE = { key: "dGhlIHNhbXBsZSBub25jZQ==", accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" };

/** Fill `list` with the steps from `key` to what the server must answer; `accept` is what it did. */
export function showSteps(list, key, accept) {
  const digest = sha1(new TextEncoder().encode(key + GUID));
  const made = btoa(String.fromCharCode(...digest));
  list.replaceChildren(
    step("key", "§4.1", code(key), bytes(fromBase64(key))),
    step("guid", "§1.3", make("code", "", key, make("mark", "", GUID))),
    step("sha1", "§4.2.2", bytes(digest)),
    step("base64", "§4.2.2", code(made)),
    step("answer", "§4.2.2", code(accept ?? "–"), verdict(made === accept)),
  );
}

function step(name, section, ...content) {
  const line = make("li", "", make("p", "", t(`lesson.ws.step-${name}`), " ", make("small", "", `RFC 6455 ${section}`)));
  line.dataset.step = name;
  line.append(make("p", "", ...content));
  return line;
}

function verdict(same) {
  const line = make("b", "", t(same ? "lesson.ws.same" : "lesson.ws.different"));
  line.dataset.same = same;
  return line;
}

function bytes(some) {
  return make("code", "octets", ...[...some].map((byte) => make("span", "", hex(byte))));
}

function code(text) {
  return make("code", "", text);
}

// Whoever edits the key may leave it without sense.
function fromBase64(text) {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt());
  } catch {
    return [];
  }
}
