// From what crossed the server's socket to what happened: the pieces of the tap are put together to
// messages by `Conversation`, and each message becomes a thing of the story.  A thing is
//
//   { sort, direction, at, connection, lane, bytes, exchange, … }
//
// `sort` is request, answer (complete), stream (the head of an answer that goes on), event, chunk, beat,
// finish, message, ack, ping, pong, frame, close; end (a connection broke off) and dropped (bytes that
// nobody saw) have no direction.  `exchange.transit` is how long the way was, as far as it is known.

import { Conversation } from "./conversation.js";

const READERS = /\/(short_polling|long_polling|iframe_streaming|sse|fetch_streaming|websocket)$/;
// What marks an event in the bytes of each; what people say cannot contain it unescaped.
const MARKS = {
  short_polling: /"kind":"/g,
  long_polling: /"kind":"/g,
  iframe_streaming: /<script data-event/g,
  sse: /^data:/gm,
  fetch_streaming: /^\{/gm,
};
const CONTROL = { 8: "close", 9: "ping", 10: "pong" };
// What is looked for is ASCII, so any encoding that leaves that alone will do.
const decoder = new TextDecoder("latin1");

export class Witness {
  #story;
  #transit;
  #conversation = new Conversation({
    onMessage: (message) => this.#message(message),
    onPart: (part) => this.#part(part),
  });
  #exchanges = new Map(); // connection: what is going on there now
  #known = new Set(); // connections that have asked before
  #payloads = new Map(); // a frame's id: what it carries, as far as it has come
  #reading = 0; // questions for news that wait or are being answered
  #at; // the latest

  constructor(story, transit) {
    this.#story = story;
    this.#transit = transit;
  }

  feed(piece) {
    this.#at = piece.at ?? this.#at;
    if (piece.bytes) this.#story.totals[piece.direction] += piece.bytes.length;
    if (piece.dropped !== undefined) this.#add({ sort: "dropped", at: this.#at, bytes: piece.dropped });
    else this.#conversation.feed(piece);
    if (piece.closed) this.#closed(piece);
  }

  #add(thing) {
    if (thing.at !== undefined) this.#story.add({ bytes: 0, ...thing });
  }

  // --- requests and answers ----------------------------------------------------------------------

  #message(message) {
    if (message.kind === "request") this.#request(message);
    else if (message.kind === "frame") this.#frame(message);
    else this.#answer(message);
  }

  #request({ connection, method, target, began, ended, bytes }) {
    const story = this.#story;
    const number = story.number(connection);
    const reader = method === "GET" ? READERS.exec(target.split("?")[0])?.[1] : undefined;
    const bar = story.beginBar("held", number, ended);
    const exchange = {
      method, target, reader, began, ended, bar, events: 0,
      place: { connection: number, lane: bar.lane },
      fresh: !this.#known.has(connection),
      transit: this.#transit.oneWay,
    };
    this.#known.add(connection);
    this.#exchanges.set(connection, exchange);
    story.totals.requests += 1;
    if (method === "POST") story.totals.posts += 1;
    if (reader) {
      this.#reading += 1;
      story.endGap(ended);
    }
    this.#add({
      sort: "request", direction: "up", at: ended, bytes, method, target, exchange,
      ...exchange.place, fold: `request ${method}`,
    });
  }

  #answer({ connection, status, began, ended, bytes }) {
    const exchange = this.#exchanges.get(connection);
    if (!exchange) return;
    // From here on the connection belongs to frames, both ways.
    if (status === 101) return void this.#stream(exchange, { status, began, headBytes: bytes });
    if (exchange.stream) this.#add({ ...this.#down(exchange, "finish"), at: ended });
    else this.#complete(exchange, { status, began, ended, bytes });
    this.#over(connection, ended, exchange.reader === "long_polling" ? "blind" : "cut");
    this.#transit.exchanged(Object.assign(exchange, { answered: began, done: ended }));
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

  /** The head of an answer that goes on. */
  #stream(exchange, { status, began, headBytes }) {
    exchange.stream = true;
    exchange.bar.sort = "stream";
    this.#add({ ...this.#down(exchange, "stream"), at: began, bytes: headBytes, status });
  }

  // A complete answer shares what is learnt later of its exchange; others are as long on the way as
  // is known when they leave.
  #down({ place, method, target }, sort) {
    const exchange = { transit: this.#transit.oneWay };
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

  #part({ connection, message, kind, bytes, at }) {
    if (kind === "frame-payload") this.#payloads.set(message.id, bytes);
    const exchange = this.#exchanges.get(connection);
    if (!exchange) return;
    if (kind === "body") exchange.events += count(exchange.reader, bytes);
    if (kind === "chunk-data") this.#chunk(exchange, message, bytes, at);
  }

  #chunk(exchange, message, bytes, at) {
    if (!exchange.stream) this.#stream(exchange, message);
    const events = count(exchange.reader, bytes) || undefined;
    const sort = events ? "event" : isBeat(bytes) ? "beat" : "chunk";
    this.#tally(sort, events);
    const { connection } = exchange.place;
    this.#add({
      ...this.#down(exchange, sort), at, bytes: bytes.length, events, fold: `${sort} ${connection}`,
    });
  }

  #frame({ id, connection, direction, opcode, began, bytes }) {
    const exchange = this.#exchanges.get(connection);
    const payload = this.#payloads.get(id) ?? new Uint8Array();
    this.#payloads.delete(id);
    if (!exchange) return;
    const sort = CONTROL[opcode] ?? (direction === "up" ? "message" : said(payload));
    const code = opcode === 8 && payload.length > 1 ? payload[0] * 256 + payload[1] : undefined;
    const events = sort === "event" ? 1 : undefined;
    this.#tally(sort, events);
    this.#echo(exchange, sort, direction, began);
    this.#add({
      ...this.#down(exchange, sort), direction, at: began, bytes, events, code,
      fold: `${sort} ${direction} ${exchange.place.connection}`,
    });
  }

  // A browser answers a ping at once: the server's clock alone tells how far away it is.
  #echo(exchange, sort, direction, at) {
    if (sort === "ping" && direction === "down") exchange.pinged = at;
    if (sort !== "pong" || exchange.pinged === undefined) return;
    this.#transit.add(at - exchange.pinged);
    exchange.pinged = undefined;
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

function count(reader, bytes) {
  const mark = MARKS[reader];
  return mark ? (decoder.decode(bytes).match(mark)?.length ?? 0) : 0;
}

// Empty lines, or a comment of server-sent events.
function isBeat(bytes) {
  return bytes.length < 4 && /^:?\s*$/.test(decoder.decode(bytes));
}

function said(payload) {
  const kind = /^\{"kind": ?"(\w+)"/.exec(decoder.decode(payload.subarray(0, 20)))?.[1];
  if (kind === "error") return "frame";
  return kind === "ack" ? "ack" : "event";
}
