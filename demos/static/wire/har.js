// Captured traffic as HAR 1.2, which the network panels of browsers open.  A stream is an entry that has not
// ended; the messages of a WebSocket are in `_webSocketMessages`, as Chrome writes them.

import { unmask } from "./frames.js";
import { concat } from "./http.js";
import { codingOf, isPayload } from "./payload.js";
import { TrafficParser } from "./traffic_parser.js";

const NOTE = "Recorded at the server's socket by realtime; secrets are asterisks of equal length.";
const UNKNOWN = -1; // what HAR writes for a size that is not known
const TEXT_FRAME = 1;
const BINARY_FRAME = 2;
// A request whose response has not arrived.
const NO_RESPONSE = {
  status: 0, statusText: "", httpVersion: "HTTP/1.1", cookies: [], headers: [], redirectURL: "",
  content: { size: 0, mimeType: "", text: "" }, headersSize: UNKNOWN, bodySize: UNKNOWN,
};

/** Feed it records, with `plain` where they are inflated (see inflate.js); `log` is the result. */
export class HarBuilder {
  #entries = new Map(); // id of the request: {request, response, frames}
  #current = new Map(); // connection: its current entry
  #parts = new Map(); // id of a message: {head, fields, payloads, inflated}
  #parser = new TrafficParser({
    onPart: (part) => this.#part(part),
    onMessage: (message) => this.#message(message),
  });
  #now;

  feed(record) {
    this.#now = record.at ?? this.#now;
    this.#parser.feed(record);
    for (const [unit, plain] of record.plain ?? []) {
      const parts = this.#partsOf(Number(unit.split(".")[0]));
      parts.payloads.set(unit, [plain]);
      parts.inflated = true;
    }
  }

  get log() {
    const entries = [...this.#entries.values()].map((entry) => this.#entry(entry));
    return {
      log: { version: "1.2", creator: { name: "realtime", version: "1" }, comment: NOTE, pages: [], entries },
    };
  }

  #part({ message, unit, kind, bytes }) {
    const parts = this.#partsOf(message.id);
    if (["start-line", "field", "head-end"].includes(kind)) parts.head += bytes.length;
    if (kind === "field") parts.fields.push(field(bytes));
    if (isPayload({ kind })) parts.payloads.set(unit, [...(parts.payloads.get(unit) ?? []), bytes.slice()]);
  }

  #partsOf(id) {
    if (!this.#parts.has(id)) this.#parts.set(id, { head: 0, fields: [], payloads: new Map() });
    return this.#parts.get(id);
  }

  #message(message) {
    const { id, connection, kind, request } = message;
    if (kind === "request" && !this.#entries.has(id)) {
      this.#entries.set(id, { request: message, frames: [] });
      this.#current.set(connection, this.#entries.get(id));
    }
    if (kind === "response") {
      const entry = this.#entries.get(request?.id);
      if (entry) entry.response = message;
    }
    const entry = this.#current.get(connection);
    if (kind === "frame" && message.endedAt !== undefined && entry) entry.frames.push(message);
  }

  // --- an entry ------------------------------------------------------------------------------------

  #entry({ request, response, frames }) {
    const answered = response?.startedAt ?? this.#now;
    // A request can be refused before its end.
    const sent = Math.min(request.endedAt ?? request.startedAt, answered);
    const ended = response?.endedAt ?? this.#now;
    const timings = { send: sent - request.startedAt, wait: answered - sent, receive: ended - answered };
    const upgraded = response?.status === 101;
    return {
      startedDateTime: new Date(request.startedAt).toISOString(),
      time: ended - request.startedAt,
      request: this.#request(request, upgraded),
      response: this.#response(response),
      cache: {},
      timings,
      connection: String(request.connection),
      comment: request.transport,
      ...(upgraded ? { _resourceType: "websocket", _webSocketMessages: this.#messages(frames) } : {}),
    };
  }

  #request(request, upgraded) {
    const { head, fields } = this.#partsOf(request.id);
    const url = urlOf(request, upgraded ? "ws" : "http");
    const body = this.#payload(request);
    const type = request.fields?.get("content-type") ?? "";
    return {
      method: request.method,
      url: url.href,
      httpVersion: "HTTP/1.1",
      cookies: [],
      headers: fields,
      queryString: [...url.searchParams].map(([name, value]) => ({ name, value })),
      ...(body.length ? { postData: { mimeType: type, text: text(body) } } : {}),
      headersSize: head,
      bodySize: request.bytes - head,
    };
  }

  #response(response) {
    if (!response) return NO_RESPONSE;
    const { head, fields } = this.#partsOf(response.id);
    const body = this.#payload(response);
    const mimeType = response.fields?.get("content-type") ?? "";
    return {
      status: response.status,
      statusText: response.startLine.split(" ").slice(2).join(" "),
      httpVersion: "HTTP/1.1",
      cookies: [],
      headers: fields,
      content: { size: body.length, mimeType, text: text(body) },
      redirectURL: response.fields?.get("location") ?? "",
      headersSize: head,
      bodySize: response.bytes - head,
    };
  }

  #messages(frames) {
    const shown = frames.filter(({ opcode }) => opcode === TEXT_FRAME || opcode === BINARY_FRAME);
    return shown.map((frame) => ({
      type: frame.direction === "up" ? "send" : "receive",
      time: frame.startedAt / 1_000, // seconds
      opcode: frame.opcode,
      data: frame.opcode === TEXT_FRAME ? text(this.#payload(frame)) : base64(this.#payload(frame)),
    }));
  }

  // Without its coding and its mask; nothing, if it could not be inflated.
  #payload(message) {
    const { payloads, inflated } = this.#partsOf(message.id);
    if (codingOf(message)) return inflated ? joined(payloads) : new Uint8Array();
    return message.mask ? unmask(joined(payloads), message.mask) : joined(payloads);
  }
}

// A file can hold any target and any host.
function urlOf({ target, fields }, scheme) {
  const host = `${scheme}://${fields?.get("host")}`;
  return URL.canParse(target, host) ? new URL(target, host) : new URL(`${scheme}://unknown/`);
}

function joined(payloads) {
  return concat([...payloads.values()].flat());
}

function field(bytes) {
  const [name, ...rest] = text(bytes).trimEnd().split(":");
  return { name, value: rest.join(":").trim() };
}

function text(bytes) {
  return new TextDecoder().decode(bytes);
}

function base64(bytes) {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
