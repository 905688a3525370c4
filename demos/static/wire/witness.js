// From what crossed the server's socket to what happened: the pieces of the tap are put together to
// messages by `Conversation`, and each message becomes a thing of the story.  A thing is
//
//   { sort, direction, at, connection, lane, bytes, exchange, … }
//
// `sort` is request, answer (complete), stream (the head of an answer that goes on), event, chunk, beat,
// finish, message, ack, ping, pong, frame, close; end (a connection broke off) and dropped (bytes that
// nobody saw) have no direction.  `exchange.transit` is how long the way was, as far as it is known.

import { Conversation } from "./conversation.js";
import { unmask } from "./frames.js";

const READERS = /\/(short_polling|long_polling|iframe_streaming|sse|fetch_streaming|websocket)$/;
// What the two libraries wait with for news, and what each is most like.
const OF_LIBRARIES = [
  [/^\/sockjs\/.*\/xhr_streaming$/, "fetch_streaming"],
  [/^\/sockjs\/.*\/eventsource$/, "sse"],
  [/^\/sockjs\/.*\/xhr$/, "long_polling"],
  [/^\/socket\.io\/.*transport=websocket/, "websocket"],
  [/^\/socket\.io\/.*&sid=/, "long_polling"],
];
// What marks an event in the bytes of each; what people say cannot contain it unescaped.
const MARKS = {
  short_polling: /"kind":"/g,
  long_polling: /"kind":"/g,
  iframe_streaming: /<script data-event/g,
  sse: /^data:/gm,
  fetch_streaming: /^\{/gm,
};
// … and in the frames of SockJS, where its JSON is a string in JSON.
const QUOTED = /\{\\"kind\\":\\"/g;
const CONTROL = { 8: "close", 9: "ping", 10: "pong" };
// Empty lines, or a comment of server-sent events.
const BEAT = /^:?\s*$/;
// What is looked for is ASCII, so any encoding that leaves that alone will do.
const latin1 = new TextDecoder("latin1");
const text = (bytes) => latin1.decode(bytes);

export class Witness {
  #story;
  #transit;
  #conversation = new Conversation({
    onMessage: (message) => this.#message(message),
    onPart: (part) => this.#part(part),
  });
  #exchanges = new Map(); // connection: what is going on there now
  #known = new Set(); // connections that have asked before
  #payloads = new Map(); // a frame's id: the first bytes it carries
  #reading = 0; // questions for news that wait or are being answered
  #piece = {};

  constructor(story, transit) {
    this.#story = story;
    this.#transit = transit;
  }

  feed(piece) {
    if (piece.dropped !== undefined) {
      return void this.#add({ sort: "dropped", at: this.#piece.at, bytes: piece.dropped });
    }
    this.#piece = piece;
    if (piece.bytes) this.#story.totals[piece.direction] += piece.bytes.length;
    if (piece.closed) this.#closed(piece);
    this.#conversation.feed(piece);
  }

  #add(thing) {
    if (thing.at !== undefined) this.#story.add({ bytes: 0, ...thing });
  }

  // --- requests and answers ----------------------------------------------------------------------

  // We are told of a message with each of its parts.  One that only its connection's end has ended is
  // not whole.
  #message(message) {
    if (message.ended === undefined || this.#piece.closed) return;
    if (message.kind === "request") this.#request(message);
    if (message.kind === "answer") this.#answer(message);
    if (message.kind === "frame") this.#frame(message);
  }

  #request({ connection, method, target, began, ended, bytes }) {
    const story = this.#story;
    const number = story.number(connection);
    const reader = readerOf(method, target);
    const bar = story.beginBar("held", number, ended);
    const exchange = this.#transit.guess({
      method, target, reader, began, ended, bar, events: 0,
      place: { connection: number, lane: bar.lane },
      fresh: !this.#known.has(connection),
    });
    this.#known.add(connection);
    this.#exchanges.set(connection, exchange);
    story.totals.requests += 1;
    if (method === "POST") story.totals.posts += 1;
    if (reader) this.#reading += 1;
    const endsGap = Boolean(reader) && story.endGap(ended);
    this.#add({
      sort: "request", direction: "up", at: ended, bytes, method, target, exchange, endsGap,
      ...exchange.place, fold: `request ${method}`,
    });
  }

  #answer({ connection, status, began, ended, bytes }) {
    const exchange = this.#exchanges.get(connection);
    // After "101 Switching Protocols" there is no end: the connection belongs to frames.
    if (!exchange || status < 200) return;
    if (exchange.stream) this.#add({ ...this.#down(exchange, "finish"), at: ended });
    else this.#complete(exchange, { status, began, ended, bytes });
    this.#over(connection, ended, exchange.reader === "long_polling" ? "blind" : "cut");
    Object.assign(exchange, { answered: began, done: ended });
    // A library takes its time between two polls: that would look like a long way.
    if (!isOfLibrary(exchange.target)) this.#transit.exchanged(exchange);
  }

  #complete(exchange, { status, began, ended, bytes }) {
    const { method, reader } = exchange;
    const events = reader && status === 200 ? exchange.events : undefined;
    const wasted = reader === "short_polling" && events === 0;
    const { totals } = this.#story;
    totals.events += events ?? 0;
    if (reader) totals.polls += 1;
    if (wasted) totals.empty += 1;
    this.#add({
      ...this.#down(exchange, "answer"), exchange, at: began, bytes, method, status, events, wasted,
      held: began - exchange.ended, fold: `answer ${method} ${status} ${wasted}`,
    });
  }

  /** The head of an answer is there; perhaps it is one that goes on. */
  #head(exchange, { status, began, bytes, fields }) {
    const chunked = fields.get("transfer-encoding")?.includes("chunked");
    if (!chunked && status !== 101) return;
    exchange.stream = true;
    exchange.bar.sort = "stream";
    this.#add({ ...this.#down(exchange, "stream"), at: began, bytes, status });
  }

  // A complete answer shares what is learnt later of its exchange; others are as long on the way as
  // is known when they leave.
  #down({ place, method, target }, sort) {
    const exchange = this.#transit.guess({});
    return { sort, direction: "down", ...place, method, target, exchange };
  }

  // The page of a short poll chooses its pauses itself; only others are cut off by an end.
  #over(connection, at, gap, options) {
    const exchange = this.#exchanges.get(connection);
    this.#exchanges.delete(connection);
    this.#story.endBar(exchange.bar, at, options);
    if (!exchange.reader) return;
    this.#reading -= 1;
    if (this.#reading === 0 && exchange.reader !== "short_polling") this.#story.beginGap(gap, at);
  }

  // --- streams and frames ------------------------------------------------------------------------

  #part({ connection, direction, message, kind, bytes, at }) {
    const exchange = this.#exchanges.get(connection);
    if (!exchange) return;
    if (kind === "head-end" && direction === "down") this.#head(exchange, message);
    if (kind === "body" && direction === "down") exchange.events += count(exchange.reader, text(bytes));
    if (kind === "chunk-size" && exchange.stream) exchange.chunk = { at, bytes: 0, text: "" };
    if (kind === "chunk-data") gather(exchange.chunk, bytes);
    if (kind === "chunk-end" && exchange.chunk?.bytes) this.#chunk(exchange, exchange.chunk);
    if (kind === "frame-payload") this.#payload(message, bytes);
    if (kind === "unknown") this.#strange(exchange, direction, bytes, at);
  }

  #chunk(exchange, { at, bytes, text: words }) {
    exchange.chunk = undefined;
    const events = count(exchange.reader, words) || undefined;
    const sort = events ? "event" : BEAT.test(words) ? "beat" : "chunk";
    this.#tally(sort, events);
    const { connection } = exchange.place;
    this.#add({ ...this.#down(exchange, sort), at, bytes, events, fold: `${sort} ${connection}` });
  }

  // What comes after bytes that were dropped: nobody knows where in which message they are.
  #strange(exchange, direction, bytes, at) {
    const fold = `chunk ${direction} ${exchange.place.connection}`;
    this.#add({ ...this.#down(exchange, "chunk"), direction, at, bytes: bytes.length, fold });
  }

  // Of what a frame carries its first bytes tell what it is.
  #payload({ id, mask }, bytes) {
    if (this.#payloads.has(id)) return;
    const start = bytes.subarray(0, 40);
    this.#payloads.set(id, mask ? unmask(start, mask) : start);
  }

  #frame({ id, connection, direction, opcode, began, bytes }) {
    const payload = this.#payloads.get(id) ?? new Uint8Array();
    this.#payloads.delete(id);
    const exchange = this.#exchanges.get(connection);
    if (!exchange) return;
    const sort = CONTROL[opcode] ?? (direction === "up" ? "message" : said(payload));
    const code = opcode === 8 && payload.length > 1 ? payload[0] * 256 + payload[1] : undefined;
    const events = sort === "event" ? 1 : undefined;
    this.#tally(sort, events);
    const way = this.#way(exchange, sort, direction, began);
    this.#add({
      ...this.#down(exchange, sort), exchange: way, direction, at: began, bytes, events, code,
      fold: `${sort} ${direction} ${exchange.place.connection}`,
    });
  }

  // A browser answers a ping at once: the server's clock alone tells how far away it is.
  #way(exchange, sort, direction, at) {
    const { ping } = exchange;
    if (sort !== "pong" || direction !== "up" || !ping) {
      const way = this.#transit.guess({});
      if (sort === "ping" && direction === "down") exchange.ping = { at, way };
      return way;
    }
    exchange.ping = undefined;
    this.#transit.add(at - ping.at);
    ping.way.transit = (at - ping.at) / 2;
    return ping.way;
  }

  #tally(sort, events) {
    const { totals } = this.#story;
    totals.events += events ?? 0;
    if (sort === "beat" || sort === "ping") totals.heartbeats += 1;
  }

  // It ended while something was going on; of others the tap does not tell.
  #closed({ connection, at }) {
    const exchange = this.#exchanges.get(connection);
    if (!exchange) return;
    this.#add({ sort: "end", at, ...exchange.place });
    this.#over(connection, at, "cut", { closed: true });
  }
}

function isOfLibrary(target) {
  return target.startsWith("/sockjs/") || target.startsWith("/socket.io/");
}

// SockJS asks for news with a POST: no browser would keep its answer.
function readerOf(method, target) {
  const path = target.split("?")[0];
  const [, like] = OF_LIBRARIES.find(([place]) => place.test(path) || place.test(target)) ?? [];
  if (like) return method === "GET" || path.startsWith("/sockjs/") ? like : undefined;
  return method === "GET" ? READERS.exec(path)?.[1] : undefined;
}

function count(reader, words) {
  const ofSession = words.match(QUOTED)?.length ?? 0;
  if (ofSession) return ofSession;
  const mark = MARKS[reader];
  return mark ? (words.match(mark)?.length ?? 0) : 0;
}

function gather(chunk, bytes) {
  if (!chunk) return;
  chunk.bytes += bytes.length;
  chunk.text += text(bytes);
}

// Frames of SockJS begin with a letter, packets of Engine.IO with a digit.
function said(payload) {
  const words = text(payload);
  if (/^h$|^2$/.test(words)) return "beat";
  if (/^([oc]|0\{|1$|3probe|40|6$)/.test(words)) return "frame";
  if (words.startsWith("43")) return "ack";
  const kind = /^(?:a\["|42\["event",)?\{\\?"kind\\?": ?\\?"(\w+)/.exec(words)?.[1];
  if (kind === "error") return "frame";
  return kind === "ack" ? "ack" : "event";
}
