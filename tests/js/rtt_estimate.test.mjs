import assert from "node:assert/strict";
import { test } from "node:test";

import { RttEstimate } from "../../demos/static/wire/rtt_estimate.js";

const target = "/rooms/r/long_polling?after=1";
const name = `http://localhost:8000${target}`;
// The server held this request for two seconds.
const exchange = {
  target, requestStart: 5000, requestEnd: 5000, responseStart: 7000, responseEnd: 7001,
  firstOnConnection: false,
};
const sameOrigin = { name, startTime: 10, requestStart: 20, responseStart: 2050, responseEnd: 2055 };
// For another origin a browser reports only the start and the end.
const crossOrigin = { name, startTime: 10, requestStart: 0, responseStart: 0, responseEnd: 2111 };

function oneWay(timing, ...exchanges) {
  const rtt = new RttEstimate();
  rtt.addTiming(timing);
  exchanges.forEach((one) => rtt.addExchange(one));
  return rtt.oneWay;
}

test("a round trip is what the browser waited, without the time that the server took", () => {
  assert.equal(oneWay(sameOrigin, exchange), 15);
  assert.equal(oneWay(crossOrigin, exchange), 50);
});

test("a cross-origin request with a handshake in it is no sample", () => {
  assert.equal(oneWay(crossOrigin, { ...exchange, firstOnConnection: true }), undefined);
});

test("the timing of a request that broke off is no sample", () => {
  assert.equal(oneWay({ ...sameOrigin, responseStart: 25 }, exchange), undefined);
});

test("a timing belongs to one exchange", () => {
  assert.equal(oneWay(sameOrigin, exchange, { ...exchange, responseStart: 5000 }), 15);
});

test("the order of exchange and timing does not matter", () => {
  const rtt = new RttEstimate();
  rtt.addExchange(exchange);
  rtt.addTiming(sameOrigin);
  assert.equal(rtt.oneWay, 15);
});

test("the minimum of the last two samples follows a change of the network", () => {
  const rtt = new RttEstimate();
  for (const sample of [10, 200, 220]) rtt.addSample(sample);
  assert.equal(rtt.oneWay, 100);
});

test("what left just before the first sample gets its time, too", () => {
  const rtt = new RttEstimate();
  const entry = rtt.assign({});
  assert.equal(entry.oneWay, undefined);
  rtt.addSample(100);
  assert.equal(entry.oneWay, 50);
});
