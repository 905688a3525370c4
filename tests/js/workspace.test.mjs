// What belongs together in the workspace of a page, and its pause, step and replay.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Blocks } from "../../demos/static/wire/blocks.js";
import { keysIn, Links } from "../../demos/static/wire/links.js";
import { asOf, Player } from "../../demos/static/wire/player.js";
import { chunk, closed, event, record, request, response, stream, SWITCH, traceOf } from "./traffic.mjs";

const ID = "71a7bae9-4b49-4791-9ee2-1eb6a067811d";
const CLIENT = "d56d9d34-aba4-4cfe-ba83-d8424afb0235";
const SAY = `{"kind":"say","cursor":"e-6","id":"${ID}","client":"${CLIENT}","text":"hi"}`;
const POST = "POST /rooms/r/messages";

// --- links -----------------------------------------------------------------------------------------

test("the keys of a payload are the ids of messages and the cursors of events, however they are framed", () => {
  const both = new Set([ID, "e-6"]);
  assert.deepEqual(keysIn(SAY), both);
  assert.deepEqual(keysIn(`42["event",${SAY}]`), both);
  assert.deepEqual(keysIn(`a[${JSON.stringify(SAY)}]`), both);
  assert.deepEqual(keysIn(`{"kind": "ack", "id": "${ID}", "cursor": "e-6"}`), new Set([ID]));
  assert.deepEqual(keysIn(`{"id":"${ID}","client":"${CLIENT}","text":"hi"}`), new Set([ID]));
  // The cursor of a response without events says where the reader is; it belongs to no message.
  assert.deepEqual(keysIn('{"cursor":"e-6","events":[]}'), new Set());
});

test("an arrow and a block with the same bytes have the same unit", () => {
  const records = [
    request(7, 0), stream(7, 1), event(7, 2), chunk(7, 900, ":\n\n"), record(7, "down", 950, "0\r\n\r\n"),
    request(9, 50, POST), response(9, 51, "{}", "201 Created"),
    request(8, 60, "GET /rooms/r/websocket"), record(8, "down", 61, `${SWITCH}\x81\x02hi\x89\x00`),
  ];
  const blocks = new Blocks();
  records.forEach((one) => blocks.feed(one));
  const { trace } = traceOf(...records);
  const units = blocks.take().map(({ unit }) => unit);
  assert.deepEqual(trace.entries.flatMap((entry) => entry.units), units);
  assert.equal(new Set(units).size, 11);
});

test("an arrow that stands for many has the units of all", () => {
  const { trace } = traceOf(request(7, 0), stream(7, 1), ...Array.from({ length: 40 }, (_, n) => event(7, 5 + n)));
  assert.equal(trace.entries.length, 3);
  assert.equal(trace.entries[2].units.length, 40);
});

test("a message selects its bytes, and bytes select their messages", () => {
  const links = new Links();
  links.add("1.0", new Set([ID]));
  links.add("2.0", new Set([ID, "e-6"]));
  links.add("3.1", new Set(["e-7"]));
  const seen = [];
  links.on(({ source, units, keys }) => seen.push([source, [...units], [...keys]]));
  links.select("chat", { keys: [ID, "e-6"] });
  links.hover("wire", { units: ["3.1"] });
  links.hover("wire", undefined);
  links.select();
  assert.deepEqual(seen, [
    ["chat", ["1.0", "2.0"], [ID, "e-6"]],
    ["wire", ["3.1"], ["e-7"]],
    ["chat", ["1.0", "2.0"], [ID, "e-6"]], // the selection is back
    [undefined, [], []],
  ]);
});

// --- pause, step, replay ---------------------------------------------------------------------------

function playerOf(...records) {
  const { trace, feed } = traceOf(...records);
  const player = new Player({ feed, entries: () => trace.entries, onChange: () => {} });
  return { trace, player, shown: () => asOf(trace, player.time).entries.length };
}

test("while it is paused nothing is shown, and a step shows one arrow more", () => {
  const { trace, player, shown } = playerOf(request(7, 0), stream(7, 1));
  player.pause();
  for (const one of [event(7, 300), event(7, 600), event(7, 900)]) player.feed(one);
  assert.equal(trace.entries.length, 2);
  player.back();
  assert.equal(shown(), 1);
  assert.equal(player.entry.type, "request");
  player.back(); // there is nothing before
  assert.equal(shown(), 1);
  const counts = [1, 2, 3, 4].map(() => {
    player.forward();
    return shown();
  });
  assert.deepEqual(counts, [2, 3, 4, 5]);
  assert.equal(player.forward(), false);
  player.resume();
  player.feed(event(7, 1200));
  assert.equal(shown(), 6);
});

test("a replay starts at the first arrow, shortens idle time, and goes on live", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const { player, shown } = playerOf(request(7, 0), stream(7, 1), event(7, 60_000));
  player.replay();
  player.feed(event(7, 61_000)); // arrives meanwhile
  const counts = [shown()];
  while (player.state === "replaying") {
    mock.timers.tick(50);
    if (shown() !== counts.at(-1)) counts.push(shown());
  }
  mock.timers.reset();
  assert.deepEqual(counts, [1, 2, 3, 4]);
  assert.equal(player.state, "live");
});

test("what waits is bounded, and what was lost is reported", () => {
  const { trace, player } = playerOf(request(7, 0), stream(7, 1));
  player.pause();
  for (let n = 0; n < 6_000; n += 1) player.feed(chunk(7, 10 + n, ":\n\n"));
  player.resume();
  assert.equal(trace.entries.at(-1).type, "dropped");
  assert.equal(trace.entries.at(-1).bytes, 1_000 * chunk(7, 0, ":\n\n").bytes.length);
});

test("what ended later is still open at an earlier time", () => {
  const { trace } = traceOf(request(7, 0), stream(7, 1), closed(7, 500), request(9, 1700));
  const { bars, outages } = asOf(trace, 1000);
  assert.deepEqual(bars.map(({ to }) => to), [500]);
  assert.deepEqual(outages, [{ type: "cut", from: 500, to: undefined }]);
  assert.equal(asOf(trace, 400).bars[0].to, undefined);
  assert.deepEqual(asOf(trace, 400).outages, []);
});
