// The story: which lane a captured record belongs to, and when its dot flies.

import assert from "node:assert/strict";
import test from "node:test";

import { Agenda } from "../../demos/static/story/agenda.js";
import { Demux } from "../../demos/static/story/demux.js";
import { diameter, FLIGHT, kindOf, Timeline } from "../../demos/static/story/timeline.js";
import {
  chunk, closed, EMPTY, event, NEWS, PING, PONG, record, request, response, stream, SWITCH, traceOf,
} from "./traffic.mjs";

const POLL = "GET /rooms/r/short_polling?client=ada";

// --- when a dot flies ------------------------------------------------------------------------------

/** The flights of some records, which all arrive at the same moment as in one batch of the tap. */
function flights(records, { now = 0, timeline = new Timeline() } = {}) {
  return traceOf(...records).trace.entries.map((entry) => timeline.add(entry, now));
}

test("a response leaves when its request has landed, and the next poll when the response has", () => {
  const [ask, answer, next] = flights([request(7, 0, POLL), response(7, 1, EMPTY), request(7, 2, POLL)]);
  assert.deepEqual(ask, { direction: "up", start: 0, end: FLIGHT });
  assert.deepEqual(answer, { direction: "down", start: FLIGHT, end: 2 * FLIGHT });
  assert.deepEqual(next, { direction: "up", start: 2 * FLIGHT, end: 3 * FLIGHT });
});

test("a poll after an interval leaves at its own time", () => {
  const timeline = new Timeline();
  flights([request(7, 0, POLL), response(7, 1, EMPTY)], { timeline });
  const [next] = flights([request(7, 2000, POLL)], { timeline, now: 2000 });
  assert.equal(next.start, 2000);
});

test("a message that the user sends does not wait for a response", () => {
  const post = request(8, 2, "POST /rooms/r/messages");
  const entries = flights([request(7, 0, POLL), response(7, 1, EMPTY), post]);
  assert.ok(entries[2].start < entries[1].start);
});

test("an event that is captured before the message that causes it leaves after that has landed", () => {
  const timeline = new Timeline();
  timeline.userSends(5000);
  const socket = [request(7, 0, "GET /rooms/r/websocket"), record(7, "down", 1, SWITCH)];
  const frame = record(7, "down", 2, '\x81\x0e{"kind":"say"}');
  const { trace } = traceOf(...socket, frame);
  assert.equal(timeline.add(trace.entries.at(-1), 5001).start, 5000 + FLIGHT);
});

test("a pong leaves when its ping has landed", () => {
  const socket = [request(7, 0, "GET /rooms/r/websocket"), record(7, "down", 1, SWITCH)];
  const all = flights([...socket, record(7, "down", 2, PING), record(7, "up", 3, PONG)]);
  assert.equal(all[3].start, all[2].end);
});

test("two dots that leave the same end at the same time keep a distance", () => {
  const [, , first, second] = flights([request(7, 0), stream(7, 1), event(7, 2), event(7, 2)]);
  assert.ok(second.start - first.start >= 200);
});

test("the end of a connection has no dot", () => {
  assert.equal(flights([request(7, 0), stream(7, 1), closed(7, 2)]).at(-1), undefined);
});

test("a burst is drawn for some seconds, and then again when it is over", () => {
  const timeline = new Timeline();
  const { trace } = traceOf(request(7, 0), stream(7, 1), event(7, 2));
  const entry = trace.entries.at(-1);
  const drawn = Array.from({ length: 40 }, () => timeline.add(entry, 0)).filter(Boolean);
  assert.ok(drawn.length > 5 && drawn.length < 30);
  assert.ok(drawn.at(-1).start <= 5_000);
  assert.equal(timeline.add(entry, 10_000).start, 10_000);
});

test("a new message waits for what is flying, but not for what has not left", () => {
  const timeline = new Timeline();
  const [ask, answer] = flights([request(7, 0, POLL), response(7, 1, EMPTY)], { timeline });
  timeline.catchUp(100);
  timeline.userSends(100);
  const { trace } = traceOf(request(7, 0, POLL), response(7, 1, NEWS));
  const news = timeline.add(trace.entries.at(-1), 101);
  assert.equal(news.start, 100 + FLIGHT); // its cause, which left after `ask` and before `answer`
  assert.ok(ask.start < 100 && answer.start > 100);
});

test("after a pause a response still waits for the request under way", () => {
  const timeline = new Timeline();
  flights([request(7, 0, POLL)], { timeline });
  timeline.postpone(5000);
  const { trace } = traceOf(request(7, 0, POLL), response(7, 1, EMPTY));
  assert.equal(timeline.add(trace.entries.at(-1), 5100).start, 5000 + FLIGHT);
});

// --- what a dot shows ------------------------------------------------------------------------------

function kinds(...records) {
  return traceOf(...records).trace.entries.map(kindOf);
}

test("an empty response, a message and the rest have different dots", () => {
  assert.deepEqual(kinds(request(7, 0, POLL), response(7, 1, EMPTY)), ["request", "empty"]);
  assert.deepEqual(kinds(request(7, 0, POLL), response(7, 1, NEWS)), ["request", "message"]);
  const post = [request(7, 0, "POST /rooms/r/messages"), response(7, 1, "{}", "201 Created")];
  assert.deepEqual(kinds(...post), ["message", "other"]);
  const streaming = [request(7, 0), stream(7, 1), event(7, 2), chunk(7, 3, ":\n\n")];
  assert.deepEqual(kinds(...streaming), ["request", "other", "message", "other"]);
});

test("a response that opens a library's session is not an empty one", () => {
  const poll = request(7, 0, "GET /socket.io/?EIO=4&transport=polling&sid=a");
  assert.deepEqual(kinds(poll, response(7, 1, "40")), ["request", "other"]);
});

test("four times the bytes are twice the diameter, within limits", () => {
  assert.equal(diameter(400), 2 * diameter(100));
  assert.equal(diameter(2), diameter(60));
  assert.equal(diameter(5_000), diameter(500_000));
});

// --- whose record it is ----------------------------------------------------------------------------

/** A demultiplexer for Ada and Ben, and the records that each of them received. */
function twoClients() {
  const demux = new Demux();
  const received = { ada: [], ben: [] };
  for (const client of ["ada", "ben"]) {
    demux.add(client, (one) => received[client].push(one));
  }
  return { demux, received };
}

test("two clients that share a connection receive their own exchanges", () => {
  const { demux, received } = twoClients();
  const theirs = (client) => [request(7, 0, `GET /rooms/r/sse?client=${client}`), response(7, 1, EMPTY)];
  const [first, second] = ["ada", "ben"].map(theirs);
  [...first, ...second].forEach((one) => demux.feed(one));
  assert.deepEqual(received, { ada: first, ben: second });
});

test("a POST belongs to the client that its body names, even if the body comes later", () => {
  const { demux, received } = twoClients();
  const post = [
    record(7, "up", 0, "POST /rooms/r/messages?trace=x HTTP/1.1\r\n\r\n"),
    record(7, "up", 1, '{"id":"1","client":"ben"}'),
    response(7, 2, "{}", "201 Created"),
  ];
  post.forEach((one) => demux.feed(one));
  assert.deepEqual(received, { ada: [], ben: post });
});

test("the frames of a WebSocket belong to the client of its handshake", () => {
  const { demux, received } = twoClients();
  const socket = [
    request(7, 0, "GET /rooms/r/websocket?client=ada"), record(7, "down", 1, SWITCH),
    record(7, "up", 2, PONG), record(7, "down", 3, PING), closed(7, 4),
  ];
  socket.forEach((one) => demux.feed(one));
  assert.deepEqual(received.ada, socket);
});

test("records of other clients, and of a closed lane, are ignored", () => {
  const { demux, received } = twoClients();
  demux.feed(request(7, 0, "GET /rooms/r/sse?client=eve"));
  demux.feed(response(7, 1, EMPTY));
  demux.feed(request(8, 2, "GET /rooms/r/sse?client=ada"));
  demux.remove("ada");
  demux.feed(stream(8, 3));
  demux.feed(closed(9, 4));
  assert.deepEqual(received.ada.map(({ at }) => at), [2]);
  assert.deepEqual(received.ben, []);
});

test("bytes that were too fast for the tap concern every lane", () => {
  const { demux, received } = twoClients();
  demux.feed({ dropped: 5 });
  assert.deepEqual(received, { ada: [{ dropped: 5 }], ben: [{ dropped: 5 }] });
});

// --- the agenda ------------------------------------------------------------------------------------

/** An agenda with a clock that the test sets, and the names of what has run. */
function agendaAt(now) {
  const time = { now };
  const agenda = new Agenda(() => time.now);
  const ran = [];
  const add = (at, name, start = 0) => agenda.add(at, { start }, () => ran.push(name));
  return { agenda, ran, add, time };
}

test("what is late runs in the order of time, not in the order in which it was added", () => {
  const { agenda, ran, add, time } = agendaAt(0);
  add(20, "leaves");
  add(10, "lands");
  add(20, "leaves after");
  time.now = 100;
  agenda.run();
  assert.deepEqual(ran, ["lands", "leaves", "leaves after"]);
});

test("after a pause everything happens later by its length", () => {
  const { agenda, ran, add, time } = agendaAt(0);
  add(50, "lands");
  time.now = 10;
  agenda.pause();
  time.now = 1010;
  agenda.resume();
  agenda.run();
  assert.deepEqual(ran, []);
  time.now = 1050;
  agenda.run();
  assert.deepEqual(ran, ["lands"]);
});

test("a message of the user does not wait for dots that have not left", () => {
  const { agenda, ran, add, time } = agendaAt(0);
  add(800, "flying", 0);
  add(900, "leaves", 900);
  add(1700, "lands", 900);
  time.now = 100;
  agenda.catchUp();
  assert.deepEqual(ran, ["leaves", "lands"]);
  agenda.clear();
});
