// For each part of a message: its name, why it is there, and the section of the standard.

import { t } from "../i18n.js";
import { codingOf, isPayload, payloadKind } from "./payload.js";

const SECTIONS = {
  request: "RFC 9112 §3",
  response: "RFC 9112 §4",
  field: "RFC 9110 §5",
  "head-end": "RFC 9112 §2.1",
  "chunk-size": "RFC 9112 §7.1",
  "chunk-end": "RFC 9112 §7.1",
  "last-chunk": "RFC 9112 §7.1",
  trailer: "RFC 9112 §7.1.2",
  "frame-head": "RFC 6455 §5.2",
  "frame-length": "RFC 6455 §5.2",
  "frame-mask": "RFC 6455 §5.3, §10.3",
  "line-end": "RFC 9000 §2",
  packet: "RFC 9000 §12, RFC 9001",
};
const PAYLOADS = {
  json: "RFC 8259",
  post: "RFC 8259",
  sse: "HTML §9.2.5",
  fetch_streaming: "Fetch §2.2.4, Streams §4",
  iframe_streaming: "HTML §4.12.1",
  heartbeat: "RFC 6202 §5.5",
  frame: "RFC 6455 §5.6",
  control: "RFC 6455 §5.5",
  line: "RFC 9000 §2, RFC 8259",
  datagram: "RFC 9221, RFC 9297 §2",
};
const LIBRARIES = {
  sockjs: "SockJS protocol 0.3.3",
  socketio: "Engine.IO protocol 4, Socket.IO protocol 5",
};
const CODINGS = { gzip: "RFC 1952, RFC 1951", zstd: "RFC 8878", dcz: "RFC 9842 §5", deflate: "RFC 7692 §7.2" };
// Fields with an explanation of their own.
const FIELDS = {
  "accept": "RFC 9110 §12.5.1",
  "accept-encoding": "RFC 9110 §12.5.3",
  "accept-language": "RFC 9110 §12.5.4",
  "access-control-allow-origin": "Fetch §3.3.3",
  "access-control-expose-headers": "Fetch §3.3.3",
  "available-dictionary": "RFC 9842 §2.2",
  "cache-control": "RFC 9111 §5.2",
  "connection": "RFC 9110 §7.6.1",
  "content-encoding": "RFC 9110 §8.4",
  "content-length": "RFC 9110 §8.6",
  "content-security-policy": "CSP 3 §3.1",
  "content-type": "RFC 9110 §8.3",
  "cookie": "RFC 6265 §4.2",
  "date": "RFC 9110 §6.6.1",
  "dnt": "",
  "host": "RFC 9110 §7.2",
  "last-event-id": "HTML §9.2.4",
  "origin": "RFC 6454 §7",
  "pragma": "RFC 9111 §5.4",
  "priority": "RFC 9218 §4",
  "pseudo-authority": "RFC 9114 §4.3.1",
  "pseudo-method": "RFC 9114 §4.3.1, RFC 9220 §3",
  "pseudo-path": "RFC 9114 §4.3.1",
  "pseudo-protocol": "RFC 9220 §3, RFC 8441 §4",
  "pseudo-scheme": "RFC 9114 §4.3.1",
  "pseudo-status": "RFC 9114 §4.3.2",
  "referer": "RFC 9110 §10.1.3",
  "retry-after": "RFC 9110 §10.2.3",
  "sec-websocket-accept": "RFC 6455 §4.2.2",
  "sec-websocket-extensions": "RFC 6455 §9",
  "sec-websocket-key": "RFC 6455 §4.1",
  "sec-websocket-version": "RFC 6455 §4.1",
  "transfer-encoding": "RFC 9112 §6.1",
  "upgrade": "RFC 9110 §7.8",
  "upgrade-insecure-requests": "",
  "user-agent": "RFC 9110 §10.1.5",
  "vary": "RFC 9110 §12.5.5",
  "x-accel-buffering": "",
  "x-content-type-options": "Fetch §3.5",
};

/** Return `{title, text, section}` for a part of a block. */
export function explain(part, block) {
  if (part.kind === "field") return explainField(part);
  if (isPayload(part) && codingOf(block.message)) {
    return explanation("wire.payload.compressed", CODINGS[codingOf(block.message)] ?? "RFC 9110 §8.4");
  }
  if (isPayload(part)) {
    const kind = payloadKind(block);
    return explanation(`wire.payload.${kind}`, PAYLOADS[kind] ?? LIBRARIES[kind.split(".")[0]]);
  }
  const kind = part.kind === "start-line" ? block.message.kind : part.kind;
  return explanation(`wire.part.${kind}`, SECTIONS[kind] ?? "");
}

/** The name of a part. */
export function nameOf(part, block) {
  return explain(part, block).title;
}

function explanation(key, section) {
  return { title: t(key), text: t(`${key}.why`), section };
}

function explainField(part) {
  const [name] = /^:?[^:]*/.exec(String.fromCharCode(...part.bytes));
  const family = name.toLowerCase().replace(/^sec-(fetch|ch)-.*/, "sec-$1").replace(/^:/, "pseudo-");
  const known = family in FIELDS || family.startsWith("sec-fetch") || family.startsWith("sec-ch");
  const text = t(known ? `wire.field.${family}` : "wire.field.other");
  const section = FIELDS[family] ?? (family === "sec-fetch" ? "Fetch Metadata §2" : SECTIONS.field);
  return { title: name, text, section };
}
