// Builds the trace from captured traffic: `TrafficParser` assembles the records of the tap into messages, and
// each message becomes an entry of the trace.  An entry is
//
//   { type, direction, at, connection, lane, bytes, units, exchange, … }
//
// `type` is request, response (complete), stream (the head of a streaming response), event, chunk, heartbeat,
// finish, message, ack, ping, pong, frame, line, close, packet or datagram; disconnect (a connection broke off) and
// dropped (bytes that the tap did not copy) have no direction.  `units` are its bytes, as traffic_parser.js names
// them.  The bytes of a request over QUIC are unknown: 0.
// `exchange.oneWay` is the time of one direction, if known.

import { unmask } from "./frames.js";
import { networkBytes } from "./quic.js";
import { TrafficParser, unitOf } from "./traffic_parser.js";

const READING_PATHS = /\/(short_polling|long_polling|iframe_streaming|sse|fetch_streaming|websocket|webtransport)$/;
// The requests by which the two libraries receive events, and the transport that each resembles.
const LIBRARY_TARGETS = [
  [/^\/sockjs\/.*\/xhr_streaming$/, "fetch_streaming"],
  [/^\/sockjs\/.*\/eventsource$/, "sse"],
  [/^\/sockjs\/.*\/xhr$/, "long_polling"],
  [/^\/socket\.io\/.*transport=websocket/, "websocket"],
  [/^\/socket\.io\/.*&sid=/, "long_polling"],
];
// What marks an event in the bytes of each transport; a text of the chat cannot contain it unescaped.
const EVENT_MARKS = {
  short_polling: /"kind":"/g,
  long_polling: /"kind":"/g,
  iframe_streaming: /<script data-event/g,
  sse: /^data:/gm,
  fetch_streaming: /^\{/gm,
};
// The same in SockJS frames, whose JSON is a string inside JSON.
const QUOTED_EVENT = /\{\\"kind\\":\\"/g;
const CONTROL_FRAMES = { 8: "close", 9: "ping", 10: "pong" };
// Empty lines, or a comment of server-sent events.
const HEARTBEAT = /^:?\s*$/;
// Bytes of a frame that are enough to recognize its type.
const PREFIX_LENGTH = 40;
// All patterns are ASCII, so any encoding that keeps ASCII works.
const latin1 = new TextDecoder("latin1");
const text = (bytes) => latin1.decode(bytes);

export class TraceBuilder {
  #trace;
  #rtt;
  #parser = new TrafficParser({
    onMessage: (message) => this.#message(message),
    onPart: (part) => this.#part(part),
  });
  #exchanges = new Map(); // connection: its current exchange
  #seen = new Set(); // connections that have carried a request
  #payloads = new Map(); // id of a frame: the first bytes of its payload
  #reading = 0; // open requests that can bring events
  #record = {};

  constructor(trace, rtt) {
    this.#trace = trace;
    this.#rtt = rtt;
  }

  feed(record) {
    if (record.dropped !== undefined) {
      return void this.#add({ type: "dropped", at: this.#record.at, bytes: record.dropped });
    }
    this.#record = record;
    if (record.direction) this.#trace.totals[record.direction] += networkBytes(record);
    if (record.closed) this.#closed(record);
    this.#parser.feed(record);
  }

  #add(entry) {
    if (entry.at !== undefined) this.#trace.add({ bytes: 0, units: [], ...entry });
  }

  // --- requests and responses --------------------------------------------------------------------

  // The parser reports a message with each of its parts.  A message that only the end of its connection
  // has ended is incomplete.
  #message(message) {
    if (message.endedAt === undefined || this.#record.closed) return;
    if (message.kind === "request") this.#request(message, [unitOf(message)]);
    if (message.kind === "response") this.#response(message, [unitOf(message)]);
    if (message.kind === "frame") this.#frame(message, [unitOf(message)]);
    if (message.kind === "packet") this.#packet(message, [unitOf(message)]);
    if (message.kind === "line") this.#line(message, [unitOf(message)]);
    if (message.kind === "datagram") this.#datagram(message, [unitOf(message)]);
  }

  #request({ connection, method, target, startedAt, endedAt, bytes }, units) {
    const trace = this.#trace;
    const number = trace.number(connection);
    const transport = readingTransport(method, target);
    const bar = trace.startBar("held", number, endedAt);
    const exchange = this.#rtt.assign({
      method, target, transport, bar, events: 0,
      requestStart: startedAt, requestEnd: endedAt,
      place: { connection: number, lane: bar.lane },
      firstOnConnection: !this.#seen.has(connection),
    });
    this.#seen.add(connection);
    this.#exchanges.set(connection, exchange);
    trace.totals.requests += 1;
    if (method === "POST") trace.totals.posts += 1;
    if (transport) this.#reading += 1;
    const endsOutage = Boolean(transport) && trace.endOutage(endedAt);
    this.#add({
      type: "request", direction: "up", at: endedAt, bytes, units, method, target, exchange, endsOutage,
      ...exchange.place, group: `request ${method}`,
    });
  }

  #response({ connection, status, startedAt, endedAt, bytes }, units) {
    const exchange = this.#exchanges.get(connection);
    if (exchange?.transport) exchange.events += countEvents(exchange.transport, this.#inflated(units));
    // After "101 Switching Protocols" the exchange continues: the connection carries frames.
    if (!exchange || status < 200) return;
    if (exchange.stream) this.#add({ ...this.#down(exchange, "finish"), at: endedAt, units });
    else this.#complete(exchange, { status, startedAt, bytes, units });
    this.#endExchange(connection, endedAt, exchange.transport === "long_polling" ? "blind" : "cut");
    Object.assign(exchange, { responseStart: startedAt, responseEnd: endedAt });
    // A library waits between two polls, which would look like a long round trip.
    if (!isLibrary(exchange.target)) this.#rtt.addExchange(exchange);
  }

  #complete(exchange, { status, startedAt, bytes, units }) {
    const { method, transport } = exchange;
    const events = transport && status === 200 ? exchange.events : undefined;
    const wasted = transport === "short_polling" && events === 0;
    const { totals } = this.#trace;
    totals.events += events ?? 0;
    if (transport) totals.polls += 1;
    if (wasted) totals.empty += 1;
    this.#add({
      ...this.#down(exchange, "response"), exchange, at: startedAt, bytes, units, method, status, events, wasted,
      held: startedAt - exchange.requestEnd, group: `response ${method} ${status} ${wasted}`,
    });
  }

  /** The head of a response is complete; it may be a streaming response. */
  #head(exchange, message) {
    const { status, startedAt, bytes, fields } = message;
    const chunked = fields.get("transfer-encoding")?.includes("chunked");
    const session = message.stream !== undefined && status === 200;
    if (!chunked && !session && status !== 101) return;
    exchange.stream = true;
    exchange.bar.type = "stream";
    this.#add({ ...this.#down(exchange, "stream"), at: startedAt, bytes, units: [unitOf(message)], status });
  }

  // A complete response shares the object of its exchange, and so the RTT that is measured later.  Other
  // entries take the estimate at the time they leave.
  #down({ place, method, target }, type) {
    const exchange = this.#rtt.assign({});
    return { type, direction: "down", ...place, method, target, exchange };
  }

  // A short poll's page chooses its pauses itself, so they are no outage.
  #endExchange(connection, at, outage, options) {
    const exchange = this.#exchanges.get(connection);
    this.#exchanges.delete(connection);
    this.#trace.endBar(exchange.bar, at, options);
    if (!exchange.transport) return;
    this.#reading -= 1;
    if (this.#reading === 0 && exchange.transport !== "short_polling") this.#trace.startOutage(outage, at);
  }

  // --- streams and frames ------------------------------------------------------------------------

  #part({ connection, direction, message, unit, kind, bytes, at }) {
    if (kind === "line") this.#payload(message, bytes);
    const exchange = this.#exchanges.get(connection);
    if (!exchange) return;
    if (kind === "head-end" && direction === "down") this.#head(exchange, message);
    if (kind === "body" && direction === "down") {
      exchange.events += countEvents(exchange.transport, text(bytes));
    }
    if (kind === "chunk-size" && exchange.stream) exchange.chunk = { at, bytes: 0, text: "" };
    if (kind === "chunk-data") extend(exchange.chunk, bytes);
    if (kind === "chunk-end" && exchange.chunk?.bytes) this.#chunk(exchange, exchange.chunk, [unit]);
    if (kind === "frame-payload") this.#payload(message, bytes);
    if (kind === "unknown") this.#unknown(exchange, { direction, bytes, at, units: [unit] });
  }

  // What inflate.js has found in a compressed piece, as text.
  #inflated([unit]) {
    return text(this.#record.plain?.get(unit) ?? new Uint8Array());
  }

  #chunk(exchange, { at, bytes, text: sent }, units) {
    exchange.chunk = undefined;
    const data = this.#inflated(units) || sent;
    const events = countEvents(exchange.transport, data) || undefined;
    const type = events ? "event" : HEARTBEAT.test(data) ? "heartbeat" : "chunk";
    this.#count(type, events);
    const { connection } = exchange.place;
    this.#add({ ...this.#down(exchange, type), at, bytes, units, events, group: `${type} ${connection}` });
  }

  // Bytes after dropped ones: their position in a message is unknown.
  #unknown(exchange, { direction, bytes, at, units }) {
    const group = `chunk ${direction} ${exchange.place.connection}`;
    this.#add({ ...this.#down(exchange, "chunk"), direction, at, bytes: bytes.length, units, group });
  }

  #payload({ id, mask }, bytes) {
    if (this.#payloads.has(id)) return;
    const prefix = bytes.subarray(0, PREFIX_LENGTH);
    this.#payloads.set(id, mask ? unmask(prefix, mask) : prefix);
  }

  #frame({ id, connection, direction, opcode, startedAt, bytes }, units) {
    const plain = this.#record.plain?.get(units[0])?.subarray(0, PREFIX_LENGTH);
    const payload = plain ?? this.#payloads.get(id) ?? new Uint8Array();
    this.#payloads.delete(id);
    const exchange = this.#exchanges.get(connection);
    if (!exchange) return;
    const type = CONTROL_FRAMES[opcode] ?? (direction === "up" ? "message" : frameType(payload));
    const code = opcode === 8 && payload.length > 1 ? payload[0] * 256 + payload[1] : undefined;
    const events = type === "event" ? 1 : undefined;
    this.#count(type, events);
    const timing = this.#pingTiming(exchange, type, direction, startedAt);
    this.#add({
      ...this.#down(exchange, type), exchange: timing, direction, at: startedAt, bytes, units, events, code,
      group: `${type} ${direction} ${exchange.place.connection}`,
    });
  }

  // --- QUIC --------------------------------------------------------------------------------------

  // Several packets a second are one arrow: what they carry has separate ones.
  #packet(message, units) {
    this.#quic("packet", message, { units, most: 1 });
  }

  #datagram(message, units) {
    this.#quic("datagram", message, { units });
  }

  #line(message, units) {
    const payload = this.#payloads.get(message.id) ?? new Uint8Array();
    this.#payloads.delete(message.id);
    const type = lineType(message.direction, payload);
    const events = type === "event" ? 1 : undefined;
    this.#count(type, events);
    this.#quic(type, message, { units, events });
  }

  #quic(type, { connection, direction, startedAt: at, bytes }, values) {
    const number = this.#trace.number(connection);
    const place = { connection: number, lane: this.#trace.lane(number, at) };
    const group = `${type} ${direction} ${number}`;
    this.#add({ ...this.#down({ place }, type), direction, at, bytes, group, ...values });
  }

  // A browser answers a ping at once, so the server's clock alone measures the round trip.
  #pingTiming(exchange, type, direction, at) {
    const { ping } = exchange;
    if (type !== "pong" || direction !== "up" || !ping) {
      const timing = this.#rtt.assign({});
      if (type === "ping" && direction === "down") exchange.ping = { at, timing };
      return timing;
    }
    exchange.ping = undefined;
    this.#rtt.addSample(at - ping.at);
    ping.timing.oneWay = (at - ping.at) / 2;
    return ping.timing;
  }

  #count(type, events) {
    const { totals } = this.#trace;
    totals.events += events ?? 0;
    if (type === "heartbeat" || type === "ping") totals.heartbeats += 1;
  }

  // The connection ended during an exchange.  The end of an idle connection is not drawn.
  #closed({ connection, at }) {
    const exchange = this.#exchanges.get(connection);
    if (!exchange) return;
    this.#add({ type: "disconnect", at, ...exchange.place });
    this.#endExchange(connection, at, "cut", { closed: true });
  }
}

function isLibrary(target) {
  return target.startsWith("/sockjs/") || target.startsWith("/socket.io/");
}

// The transport of a request that can bring events, or undefined.  SockJS polls with POST, whose response no
// browser caches.
function readingTransport(method, target) {
  const path = target.split("?")[0];
  const [, similar] = LIBRARY_TARGETS.find(([pattern]) => pattern.test(path) || pattern.test(target)) ?? [];
  if (similar) return method === "GET" || path.startsWith("/sockjs/") ? similar : undefined;
  return method === "GET" || method === "CONNECT" ? READING_PATHS.exec(path)?.[1] : undefined;
}

// An empty line is a heartbeat.
function lineType(direction, payload) {
  if (direction === "up") return "message";
  return payload.length ? frameType(payload, "line") : "heartbeat";
}

function countEvents(transport, data) {
  const quoted = data.match(QUOTED_EVENT)?.length ?? 0;
  if (quoted) return quoted;
  const mark = EVENT_MARKS[transport];
  return mark ? (data.match(mark)?.length ?? 0) : 0;
}

function extend(chunk, bytes) {
  if (!chunk) return;
  chunk.bytes += bytes.length;
  chunk.text += text(bytes);
}

// SockJS frames start with a letter, Engine.IO packets with a digit.
function frameType(payload, other = "frame") {
  const data = text(payload);
  if (/^h$|^2$/.test(data)) return "heartbeat";
  if (/^([oc]|0\{|1$|3probe|40|6$)/.test(data)) return other;
  if (data.startsWith("43")) return "ack";
  const kind = /^(?:a\["|42\["event",)?\{\\?"kind\\?": ?\\?"(\w+)/.exec(data)?.[1];
  if (kind === "error") return other;
  return kind === "ack" ? "ack" : "event";
}
