// The lesson of WebTransport: what a lost packet holds back, and the figures of delays.

import assert from "node:assert/strict";
import { test } from "node:test";

import { delayFigures } from "../../demos/static/lessons/delay_lanes.js";
import { deliveries, heldBack, PACKETS } from "../../demos/static/lessons/head_of_line.js";

test("without loss every packet is delivered when it arrives", () => {
  for (const mode of ["one_stream", "streams", "datagrams"]) {
    const packets = deliveries(mode, new Set());
    assert.equal(packets.length, PACKETS);
    assert.equal(heldBack(packets), 0);
    assert.ok(packets.every(({ arrived, delivered }) => arrived === delivered));
  }
});

test("in one stream a lost packet holds back all that arrive before it is sent again", () => {
  const packets = deliveries("one_stream", new Set([2]));
  const repaired = packets[2].arrived;
  assert.deepEqual(packets.map(({ delivered }) => delivered), [2, 3, repaired, repaired, repaired, repaired, repaired, repaired, 10]);
  assert.equal(heldBack(packets), 4);
});

test("among three streams it holds back only its own", () => {
  const packets = deliveries("streams", new Set([2]));
  const waiting = packets.filter(({ arrived, delivered }) => delivered > arrived);
  assert.deepEqual(waiting.map(({ stream }) => stream), [2]);
  assert.equal(heldBack(packets), 1);
});

test("a lost datagram never comes, and holds back nothing", () => {
  const packets = deliveries("datagrams", new Set([2, 3]));
  assert.deepEqual(packets.map(({ delivered }) => delivered), [2, 3, undefined, undefined, 6, 7, 8, 9, 10]);
  assert.equal(heldBack(packets), 0);
});

test("the figures of delays count what is late and what is lost", () => {
  const figures = delayFigures([50, 52, undefined, 210, 160, 51], 150);
  assert.deepEqual(figures, { received: 5, lost: 1, late: 2, median: 52, p95: 210, longest: 210 });
  assert.deepEqual(delayFigures([undefined], 150), {
    received: 0, lost: 1, late: 0, median: undefined, p95: undefined, longest: undefined,
  });
});
