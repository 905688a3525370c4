import assert from "node:assert/strict";
import { test } from "node:test";

import { TrafficCounts } from "../../demos/static/lab/traffic_counts.js";

test("the counts start from zero when they are cleared, and when the server restarts", () => {
  const counts = new TrafficCounts();
  counts.set({ requests: 5, bytes_in: 500, open: 1 });
  counts.clear();
  counts.set({ requests: 7, bytes_in: 700, open: 1 });
  assert.equal(counts.since("requests"), 2);
  counts.set(undefined);
  assert.equal(counts.since("requests"), 0);
  counts.set({ requests: 1, bytes_in: 90, open: 1 });
  assert.equal(counts.since("bytes_in"), 90);
  assert.equal(counts.open, 1);
});
