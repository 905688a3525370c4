// Captured traffic as HAR 1.2, which the network panels of browsers open.  A stream is an entry that has not
// ended; the messages of a WebSocket are in `_webSocketMessages`, as Chrome writes them.

import { isPayload, codingOf } from "./payload.js";
import { concat } from "./http.js";
import { unmask } from "./frames.js";
import { TrafficParser } from "./traffic_parser.js";

const NOTE = "Recorded at the server's socket by realtime; secrets are asterisks of equal length.";
const UNKNOWN = -1; // what HAR writes for a time that is not known
const TEXT_FRAME = 1;
const BINARY_FRAME = 2;

/** Feed it records, with `plain` where they are inflated (see inflate.js); `log` is the result. */
export class HarBuilder {
  #entries = new Map(); // id of the request: {request, response, frames}
  #current = new Map(); // connection: its current entry
  #parts = new Map(); // id of a message: {head, fields, payloads}
  #parser = new TrafficParser({
    onPart: (part) => this.#part(part),
    onMessage: (message) => this.#message(message),
  });
  #now;

  feed(record) {
    this.#now = record.at ?? this.#now;
    this.#parser.feed(record);
    for (const [unit, plain] of record.plain ?? []) {
      this.#parts.get(Number(unit.split(".")[0]))?.payloads.set(unit, [plain]);
    }
  }

  get log() {
    const entries = [...this.#entries.values()].map((entry) => this.#entry(entry));
    return {
      log: { version: "1.2", creator: { name: "realtime", version: "1" }, comment: NOTE, pages: [], entries },
    };
  }

  #part({ message, unit, kind, bytes }) {
    if (!this.#parts.has(message.id)) this.#parts.set(message.id, { head: 0, fields: [], payloads: new Map() });
    const parts = this.#parts.get(message.id);
    if (["start-line", "field", "head-end"].includes(kind)) parts.head += bytes.length;
    if (kind === "field") parts.fields.push(field(bytes));
    if (isPayload({ kind })) parts.payloads.set(unit, [...(parts.payloads.get(unit) ?? []), bytes.slice()]);
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
    const sent = request.endedAt ?? request.startedAt;
    const timings = {
      send: sent - request.startedAt,
      wait: response ? response.startedAt - sent : UNKNOWN,
      receive: response ? (response.endedAt ?? this.#now) - response.startedAt : UNKNOWN,
    };
    const upgraded = response?.status === 101;
    return {
      startedDateTime: new Date(request.startedAt).toISOString(),
      time: Object.values(timings).filter((ms) => ms >= 0).reduce((sum, ms) => sum + ms, 0),
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
    const { head, fields, payloads } = this.#parts.get(request.id);
    const url = new URL(request.target, `${upgraded ? "ws" : "http"}://${request.fields?.get("host") ?? "unknown"}`);
    const body = joined(payloads);
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

  // HAR has a status of 0 where there is no response.
  #response(response) {
    const { head, fields, payloads } = this.#parts.get(response?.id) ?? { head: UNKNOWN, fields: [], payloads: new Map() };
    const body = joined(payloads);
    const mimeType = response?.fields?.get("content-type") ?? "";
    return {
      status: response?.status ?? 0,
      statusText: response ? response.startLine.split(" ").slice(2).join(" ") : "",
      httpVersion: "HTTP/1.1",
      cookies: [],
      headers: fields,
      content: { size: body.length, mimeType, text: text(body) },
      redirectURL: response?.fields?.get("location") ?? "",
      headersSize: head,
      bodySize: response ? response.bytes - head : UNKNOWN,
    };
  }

  #messages(frames) {
    const shown = frames.filter(({ opcode }) => opcode === TEXT_FRAME || opcode === BINARY_FRAME);
    return shown.map((frame) => ({
      type: frame.direction === "up" ? "send" : "receive",
      time: frame.startedAt / 1_000, // seconds
      opcode: frame.opcode,
      data: this.#payload(frame),
    }));
  }

  // Chrome writes what is no text in base64; so is what could not be inflated.
  #payload(frame) {
    const { payloads } = this.#parts.get(frame.id) ?? { payloads: new Map() };
    const bytes = joined(payloads);
    const isPlain = !codingOf(frame);
    const plain = frame.mask && isPlain ? unmask(bytes, frame.mask) : bytes;
    return frame.opcode === TEXT_FRAME ? text(plain) : base64(plain);
  }
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
