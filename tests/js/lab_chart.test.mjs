// The labels of the lab's chart, and its scale.

import assert from "node:assert/strict";
import { test } from "node:test";

import { positionOf } from "../../demos/static/lab/delay_scale.js";
import { spread } from "../../demos/static/lab/spread.js";

test("labels that are far enough apart stay where they are", () => {
  assert.deepEqual(spread([50, 20, 90], 20, 200), [50, 20, 90]);
});

test("labels that are too close move apart in their order, and stay inside", () => {
  assert.deepEqual(spread([50, 50, 51], 20, 200), [50, 70, 90]);
  assert.deepEqual(spread([199, 198, 0], 20, 200), [190, 170, 10]);
});

test("each decade of delays has the same width, and none is outside of the scale", () => {
  const decade = positionOf(10) - positionOf(1);
  assert.ok(Math.abs(positionOf(1000) - positionOf(100) - decade) < 1e-9);
  assert.deepEqual([0, 1e9].map(positionOf), [0, 1]);
});
