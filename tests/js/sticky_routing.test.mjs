// Sticky routing as the page simulates it.  tests/demos/test_sticky_routing.py compares it with nginx.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Simulation } from "../../demos/static/sticky/simulation.js";

const HOMES = ["198.51.100.7", "203.0.113.20", "192.0.2.80", "100.64.9.1", "172.16.4.2"];
const SCHOOL = Array(5).fill("198.51.100.7");
const WORKERS = [6001, 6002, 6003].map((port) => `127.0.0.1:${port}`);

/** The results of a hundred requests. */
function simulate(transport, routing, addresses) {
  const simulation = new Simulation({ transport, routing, workers: WORKERS, addresses });
  return Array.from({ length: 100 }, () => simulation.next());
}

for (const [place, addresses] of [["at home", HOMES], ["in a school", SCHOOL]]) {
  test(`a transport without sessions works with every routing, ${place}`, () => {
    for (const transport of ["long_polling", "websocket"]) {
      for (const routing of ["any", "address", "session"]) {
        assert.ok(simulate(transport, routing, addresses).every(({ known }) => known), routing);
      }
    }
  });
}

for (const transport of ["sockjs", "socketio"]) {
  test(`a session of ${transport} is lost by round robin`, () => {
    // No client gets further than the second request of a session.
    const lost = simulate(transport, "any", HOMES).filter(({ known }) => !known);
    assert.equal(lost.length, 50);
  });

  test(`a session of ${transport} is kept by address and by session`, () => {
    for (const routing of ["address", "session"]) {
      for (const addresses of [HOMES, SCHOOL]) {
        const results = simulate(transport, routing, addresses);
        assert.ok(results.every(({ known }) => known));
        const workers = new Set(results.map(({ worker }) => worker));
        assert.equal(workers.size === 1, routing === "address" && addresses === SCHOOL);
      }
    }
  });
}

test("a WebSocket stays with its worker", () => {
  const workers = new Map();
  for (const { client, worker } of simulate("websocket", "any", HOMES)) {
    workers.set(client, (workers.get(client) ?? new Set()).add(worker));
  }
  assert.deepEqual([...workers.values()].map(({ size }) => size), [1, 1, 1, 1, 1]);
});
