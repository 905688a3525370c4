// The sequence diagram before it is drawn: entries, labels, times and positions.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { describe, idleLabel, label, outageLabel, totals } from "../../demos/static/wire/labels.js";
import { layOut } from "../../demos/static/wire/layout.js";
import { arrowShape, idleShape, outageShape } from "../../demos/static/wire/shapes.js";
import {
  chunk, closed, EMPTY, event, NEWS, PING, PONG, record, request, response, stream, SWITCH, traceOf,
  useLanguage,
} from "./traffic.mjs";

const EM = 13;
const ROW = 1.75 * EM;
const LONG_POLL = "GET /rooms/r/long_polling?wait=25";

beforeEach(() => useLanguage("en"));

function labels(trace) {
  return trace.entries.map((entry) => label(entry).join(" · "));
}

function lay(trace, now) {
  return layOut(trace, { width: 800, em: EM, now, previousY: () => undefined });
}

/** By how many pixels the browser's end of an arrow is below the server's. */
function slope(trace, type) {
  const { y, yBrowser } = lay(trace).arrows.find(({ entry }) => entry.type === type);
  return Math.round(yBrowser - y);
}

// --- entries and labels ----------------------------------------------------------------------------

test("a stream is a request, a head, and the events that follow", () => {
  const { trace } = traceOf(
    request(7, 0), stream(7, 1), chunk(7, 2, "id: 1\n\n"), event(7, 3),
    request(9, 50, "POST /rooms/r/messages"), response(9, 51, "{}", "201 Created"),
    chunk(7, 900, ":\n\n"), record(7, "down", 950, "0\r\n\r\n"),
  );
  assert.deepEqual(labels(trace), [
    "GET …/sse · 38 B", "200 · stays open · 47 B", "chunk · 7 B", "1 event · 28 B",
    "POST …/messages · 44 B", "POST … 201 · 45 B", "heartbeat · 3 B", "end of the response",
  ]);
  // Two connections at once: each has its number, its lane and its bar.
  assert.deepEqual(trace.bars.map(({ connection, lane }) => [connection, lane]), [[1, 0], [2, 1]]);
  assert.match(totals(trace.totals, "sse"), /events: 1 · POSTs: 1/);
});

test("an event is whole, whatever pieces its bytes come in", () => {
  const pieces = [...event(7, 0).bytes].map((byte, n) => ({ ...event(7, 5 + n), bytes: Uint8Array.of(byte) }));
  const { trace } = traceOf(request(7, 0), stream(7, 1), ...pieces);
  assert.equal(trace.entries.length, 3);
  assert.equal(labels(trace).at(-1), "1 event · 28 B");
});

test("a WebSocket shows each frame by its name", () => {
  const close = [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2]; // 0x03e9 is 1001
  const { trace } = traceOf(
    request(7, 0, "GET /rooms/r/websocket"),
    record(7, "down", 1, `${SWITCH}\x81\x0e{"kind":"say"}`),
    record(7, "up", 100, "\x81\x82\x01\x02\x03\x04\x05\x06"),
    record(7, "down", 101, '\x81\x0e{"kind":"ack"}'),
    record(7, "down", 200, PING),
    record(7, "up", 300, PONG),
    { ...record(7, "up", 400, ""), bytes: Uint8Array.from(close) },
    closed(7, 401),
  );
  assert.deepEqual(labels(trace), [
    "GET …/websocket · 44 B", "101 · stays open · 56 B", "1 event · 16 B", "message · 8 B", "ack · 16 B",
    "ping · 2 B", "pong · 6 B", "close · 1001", "connection 1 ended",
  ]);
});

test("a long poll has a blind time between a response and the next request", () => {
  const { trace } = traceOf(request(7, 0, LONG_POLL), response(7, 900, NEWS), request(7, 1103, LONG_POLL));
  assert.equal(trace.outages.length, 1);
  assert.equal(trace.outages[0].type, "blind");
  assert.equal(outageLabel(trace.outages[0]), "blind for 203 ms");
  assert.match(labels(trace)[1], /^200 · 1 event · .*after 900 ms$/);
  // The server holds the second request: its bar is open.
  assert.deepEqual(trace.bars.map(({ type, to }) => [type, to]), [["held", 900], ["held", undefined]]);
  // The label of the blind time has a row of its own: on a phone it would overlap the next request.
  const [, before, after] = lay(trace).arrows;
  assert.ok(after.y - before.y >= 2 * ROW);
});

test("a short poll without news is dashed and counted", () => {
  const poll = "GET /rooms/r/short_polling";
  const { trace } = traceOf(...[EMPTY, NEWS, EMPTY].flatMap(
    (body, n) => [request(7, n * 1000, poll), response(7, n * 1000 + 1, body)],
  ));
  const shapes = lay(trace).arrows.map((arrow) => {
    const words = { parts: label(arrow.entry), description: "", time: "" };
    return arrowShape(arrow, lay(trace).columns, EM, words);
  });
  const dashed = shapes.map((shape) => shape.class.split(" ").includes("empty"));
  assert.deepEqual(dashed, [false, true, false, false, false, true]);
  assert.match(labels(trace)[1], /0 events · empty response/);
  assert.match(totals(trace.totals, "short_polling"), /empty responses: 2 of 3/);
  assert.deepEqual(trace.outages, []);
});

test("a stream that breaks is a disconnect, an outage and another connection", () => {
  const { trace } = traceOf(request(7, 0), stream(7, 1), closed(7, 500), request(9, 1700));
  assert.deepEqual(labels(trace).slice(2), ["connection 1 ended", "GET …/sse · 38 B"]);
  assert.deepEqual(trace.outages, [{ type: "cut", from: 500, to: 1700 }]);
  assert.equal(outageLabel(trace.outages[0]), "cut off for 1.2 s");
  assert.equal(trace.entries.at(-1).connection, 2);
});

test("bytes that were too fast for the tap are reported", () => {
  const { trace } = traceOf(request(7, 0), stream(7, 1), { dropped: 12_345 });
  assert.equal(labels(trace).at(-1), "12.3 kB came too fast to be shown");
});

test("a description has the request without the tap's secret", () => {
  const line = "GET /rooms/r/sse?after=e-1&trace=secret";
  const { trace } = traceOf(request(7, 0, line), stream(7, 1));
  const [first, second] = trace.entries.map((entry) => describe(entry, trace.startedAt));
  assert.match(first, /GET \/rooms\/r\/sse\?after=e-1 had arrived on connection 1/);
  assert.match(second, /the header of the response to GET \/rooms\/r\/sse\?after=e-1 left/);
});

// --- time ------------------------------------------------------------------------------------------

test("a long idle time is shortened and a burst stretched", () => {
  const { trace } = traceOf(request(7, 0), stream(7, 1), event(7, 2), event(7, 62_002));
  const { arrows, idlePeriods: [idle], columns } = lay(trace);
  assert.equal(idleLabel(idle), "… 62 s idle …");
  assert.equal(idleShape(idle, columns, EM).parts[1].text, "… 62 s idle …");
  const [first, second, third, fourth] = arrows.map(({ y }) => y);
  assert.ok(Math.abs(second - first - ROW) < 0.2); // a label is readable
  assert.ok(Math.abs(third - second - ROW) < 0.2);
  assert.ok(fourth - third > ROW && fourth - third < 5 * ROW);
});

test("arrows are level until a round trip is measured", () => {
  const { trace, rtt, feed } = traceOf(
    request(7, 0, "GET /rooms/r/websocket"), record(7, "down", 1, SWITCH), record(7, "down", 900, PING),
  );
  assert.equal(rtt.oneWay, undefined);
  assert.equal(slope(trace, "ping"), 0);
  feed(record(7, "up", 1100, PONG));
  assert.equal(rtt.oneWay, 100);
  assert.ok(slope(trace, "ping") > 10); // arrives after it left: lower
  assert.ok(slope(trace, "pong") < -10); // left before it arrived: higher
  assert.ok(slope(trace, "request") < -10); // left a moment ago, so over the same network
});

test("a short way is drawn level", () => {
  const { trace, rtt } = traceOf(
    request(7, 0, "GET /rooms/r/websocket"), record(7, "down", 1, SWITCH), record(7, "down", 900, PING),
    record(7, "up", 908, PONG),
  );
  assert.equal(rtt.oneWay, 4);
  assert.equal(slope(trace, "ping"), 0);
  assert.equal(slope(trace, "pong"), 0);
});

test("an entry keeps its position when old ones are removed", () => {
  const { trace, feed } = traceOf(request(7, 0), stream(7, 1));
  feed(...Array.from({ length: 140 }, (_, n) => event(7, 1000 + 200 * n)));
  const before = new Map(lay(trace).arrows.map(({ entry, y }) => [entry, y]));
  feed(...Array.from({ length: 60 }, (_, n) => event(7, 30_000 + 200 * n)));
  const previousY = (entry) => before.get(entry);
  const { arrows } = layOut(trace, { width: 800, em: EM, previousY });
  assert.equal(arrows.length, 150);
  const middle = arrows[20];
  assert.ok(Math.abs(middle.y - before.get(middle.entry)) < 0.1);
});

// --- limits ----------------------------------------------------------------------------------------

test("two hundred events a second are one arrow a second", () => {
  const burst = Array.from({ length: 400 }, (_, n) => event(7, 100 + 5 * n));
  const { trace } = traceOf(
    request(7, 0), stream(7, 1),
    request(9, 150, "POST /rooms/r/messages"), response(9, 151, "{}", "201 Created"), ...burst,
  );
  const aggregates = trace.entries.filter(({ count }) => count);
  const texts = aggregates.map((entry) => label(entry).join());
  assert.deepEqual(texts, Array(2).fill("200 events, 5.6 kB in 995 ms"));
  assert.equal(trace.entries.length, 6);
  assert.equal(trace.totals.events, 400);
});

test("after clear() the open stream stays, and a new connection has its own number", () => {
  const { trace, feed } = traceOf(request(7, 0), stream(7, 1), event(7, 300));
  trace.clear();
  assert.deepEqual(trace.entries, []);
  feed(event(7, 600), request(9, 601, "POST /rooms/r/messages"));
  assert.deepEqual(trace.bars.map(({ type }) => type), ["stream", "held"]);
  assert.equal(trace.entries.at(-1).connection, 2);
});

// --- languages -------------------------------------------------------------------------------------

for (const [language, word] of [["en", "idle"], ["zh-Hans", "服务器"], ["zh-Hant", "伺服器"]]) {
  test(`everything that is drawn has a text in ${language}`, () => {
    useLanguage(language);
    const { trace } = traceOf(
      request(5, 0, LONG_POLL), response(5, 1, EMPTY), request(5, 300, LONG_POLL),
      request(7, 400, "GET /rooms/r/websocket"), record(7, "down", 401, SWITCH),
      record(7, "down", 402, '\x81\x10{"kind":"error"}'),
      ...Array.from({ length: 15 }, (_, n) => record(7, "down", 410 + n, "\x82\x00\x89\x00\x8a\x00")),
      request(9, 500), stream(9, 501), chunk(9, 502, ":\n\n"), event(9, 9000),
      ...Array.from({ length: 15 }, (_, n) => request(11, 9010 + n, "POST /rooms/r/messages")),
      closed(9, 9100), { dropped: 1 },
    );
    const { outages, idlePeriods, columns } = lay(trace, 10_000);
    const texts = [
      ...labels(trace),
      ...trace.entries.map((entry) => describe(entry, trace.startedAt)),
      ...outages.map(({ outage, ...place }) => {
        return outageShape({ ...outage, to: outage.to ?? 10_000 }, place, columns, EM).parts[1].text;
      }),
      ...idlePeriods.map(idleLabel),
      totals(trace.totals, "short_polling"),
    ].join("\n");
    assert.ok(texts.includes(word));
    assert.deepEqual(texts.match(/sequence\.\w+|\{\w+\}|undefined|NaN/g), null);
  });
}

