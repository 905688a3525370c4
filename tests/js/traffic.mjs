// Captured traffic for the tests: records as a tap sends them, and the catalogues of the pages.

import { readFileSync } from "node:fs";

import { setLanguage } from "../../demos/static/i18n.js";
import { RttEstimate } from "../../demos/static/wire/rtt_estimate.js";
import { Trace } from "../../demos/static/wire/trace.js";
import { TraceBuilder } from "../../demos/static/wire/trace_builder.js";

export const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
export const EMPTY = '{"cursor":"e-1","events":[]}';
export const NEWS = '{"cursor":"e-2","events":[{"kind":"say"}]}';
export const PING = "\x89\x00";
export const PONG = "\x8a\x80\x00\x00\x00\x00";

/** Each character of a string is one byte. */
export function bytes(text) {
  return Uint8Array.from(text, (character) => character.charCodeAt());
}

export function text(some) {
  return Array.from(some, (byte) => String.fromCharCode(byte)).join("");
}

export function record(connection, direction, at, data) {
  return { connection, transport: "sse", direction, at, bytes: bytes(data) };
}

export function request(connection, at, line = "GET /rooms/r/sse") {
  return record(connection, "up", at, `${line} HTTP/1.1\r\nHost: x\r\n\r\n`);
}

export function response(connection, at, body, status = "200 OK") {
  return record(connection, "down", at, `HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
}

export function stream(connection, at) {
  return record(connection, "down", at, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
}

export function chunk(connection, at, data) {
  return record(connection, "down", at, `${data.length.toString(16)}\r\n${data}\r\n`);
}

export function event(connection, at) {
  return chunk(connection, at, 'id: 1\ndata: {"kind":"say"}\n\n');
}

export function closed(connection, at) {
  return { connection, at, closed: true };
}

/** The trace of some records. */
export function traceOf(...records) {
  const trace = new Trace();
  const rtt = new RttEstimate();
  const builder = new TraceBuilder(trace, rtt);
  const feed = (...more) => more.forEach((one) => builder.feed(one));
  feed(...records);
  return { trace, rtt, feed };
}

export function useLanguage(code) {
  setLanguage(code, JSON.parse(readFileSync(new URL(`../../demos/i18n/${code}.json`, import.meta.url))));
}

/** Bytes of a stream of WebTransport, in either direction. */
export function streamed(direction, at, data, stream = 1) {
  return { ...record(7, direction, at, data), transport: "webtransport", stream };
}

/** A UDP datagram of a QUIC connection: the tap knows its size only. */
export function packet(direction, at, size, connection = 7) {
  return { connection, transport: "webtransport", direction, at, packet: size };
}
