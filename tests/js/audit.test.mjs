// The audit of the lab: what a pane has received, missed, shown twice or out of order.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Audit, ConsistencyChecker } from "../../demos/static/lab/audit.js";
import { Delays } from "../../demos/static/lab/delays.js";

const events = Array.from({ length: 5 }, (_, n) => ({ id: `id ${n}`, cursor: `e-${n}` }));

function figures({ received, inFlight, missing, duplicated, reordered }) {
  return { received, inFlight, missing, duplicated, reordered };
}

test("two panes that show all events in one order are clean", () => {
  const checker = new ConsistencyChecker();
  const panes = [new Audit(checker), new Audit(checker)];
  for (const event of events) for (const pane of panes) pane.show(event);
  const clean = { received: 5, inFlight: 0, missing: 0, duplicated: 0, reordered: 0 };
  assert.deepEqual(panes.map(figures), [clean, clean]);
  assert.equal(checker.cursor, "e-4");
});

test("an event that a pane has not reached is in flight, one that it has skipped is missing", () => {
  const checker = new ConsistencyChecker();
  const [fast, slow] = [new Audit(checker), new Audit(checker)];
  events.forEach((event) => fast.show(event));
  slow.show(events[0]);
  slow.show(events[2]);
  assert.deepEqual(figures(slow), { received: 2, inFlight: 2, missing: 1, duplicated: 0, reordered: 0 });
});

test("events in another order and repeated events are counted", () => {
  const checker = new ConsistencyChecker();
  const [first, second] = [new Audit(checker), new Audit(checker)];
  events.forEach((event) => first.show(event));
  for (const n of [1, 0, 2, 3, 4]) second.show(events[n]);
  second.repeat();
  assert.deepEqual(figures(second), { received: 5, inFlight: 0, missing: 0, duplicated: 1, reordered: 1 });
});

test("an acknowledged message that no pane shows stays in flight, until a reset", () => {
  const checker = new ConsistencyChecker();
  const audit = new Audit(checker);
  checker.acknowledge("id 0");
  checker.acknowledge("lost");
  audit.show(events[0]);
  assert.equal(audit.inFlight, 1);
  checker.reset();
  assert.equal(audit.inFlight, 0);
});

test("after a gap a pane need not show what others showed before", () => {
  const checker = new ConsistencyChecker();
  const [other, pane] = [new Audit(checker), new Audit(checker)];
  other.show(events[0]);
  pane.show(events[0]);
  pane.gap();
  for (const n of [1, 2, 3]) other.show(events[n]);
  for (const n of [2, 3]) pane.show(events[n]);
  assert.deepEqual(figures(pane), { received: 2, inFlight: 0, missing: 0, duplicated: 0, reordered: 0 });
  assert.equal(pane.gaps, 1);
});

test("quantiles are measured delays of the latest messages", () => {
  const delays = new Delays();
  assert.deepEqual(delays.quantiles(0.5), [undefined]);
  for (let n = 1; n <= 600; n += 1) delays.add(n);
  assert.deepEqual(delays.quantiles(0, 0.5, 0.99, 1), [101, 350, 595, 600]);
  assert.deepEqual(delays.last(2), [599, 600]);
});

test("a pane is late from when others have an event that it has not, until it receives one", () => {
  const checker = new ConsistencyChecker();
  const [fast, slow] = [new Audit(checker), new Audit(checker)];
  assert.equal(slow.lateBy(10), 0);
  fast.show(events[0]);
  fast.show(events[1]);
  assert.equal(slow.lateBy(14), 4);
  slow.show(events[0]);
  assert.equal(slow.lateBy(15), 0);
  assert.equal(slow.lateBy(17), 2);
  slow.show(events[1]);
  assert.equal(slow.lateBy(60), 0);
});

test("a restarted audit forgets its faults and its gaps", () => {
  const audit = new Audit(new ConsistencyChecker());
  audit.gap();
  for (const n of [1, 0]) audit.show(events[n]);
  audit.repeat();
  audit.restart();
  assert.deepEqual(figures(audit), { received: 0, inFlight: 0, missing: 0, duplicated: 0, reordered: 0 });
  assert.equal(audit.gaps, 0);
});
