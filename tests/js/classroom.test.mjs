// A lesson: its steps, the messages of an experiment, and what a window of time has cost.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  beatsOf, dueMessages, EXPERIMENTS, isOfRun, newRun, nextPosition, plannedUpTo, previousPosition, stepsWith,
  stopwatch, textOf,
} from "../../demos/static/classroom/lesson.js";
import { deliveryOf, difference, median, merge, rowsOf, snapshot, takeReports } from "../../demos/static/classroom/measure.js";
import { classRooms, cursorAt, offsetOf } from "../../demos/static/classroom/rooms.js";
import { latest, tally, voteText, votesIn } from "../../demos/static/classroom/votes.js";

const RUN = "3f0c9a52-8f0e-4c2b-9d3e-0a4be1d2c677";
const PLAN = [{}, { exercise: "lab_price", experiment: "messages" }, { experiment: "quiet" }];

test("next goes through the beats of each step, and stays at the end", () => {
  const positions = [{ step: 0, beat: 0 }];
  for (let n = 0; n < 9; n++) positions.push(nextPosition(PLAN, positions.at(-1)));
  const names = positions.map(({ step, beat }) => `${step} ${beatsOf(PLAN[step])[beat]}`);
  assert.deepEqual(names, [
    "0 show", "1 show", "1 vote", "1 bars", "1 run", "1 result", "2 show", "2 run", "2 run", "2 run",
  ]);
});

test("back is the beat before, or the start of the step before", () => {
  assert.deepEqual(previousPosition({ step: 1, beat: 3 }), { step: 1, beat: 2 });
  assert.deepEqual(previousPosition({ step: 1, beat: 0 }), { step: 0, beat: 0 });
  assert.deepEqual(previousPosition({ step: 0, beat: 0 }), { step: 0, beat: 0 });
});

test("an added exercise is a step after the current one, and the plan goes on after it", () => {
  const extra = { at: 1, step: { exercise: "sse_idle" } };
  assert.deepEqual(stepsWith([1, 2, 3], extra), [1, extra.step, 2, 3]);
  assert.deepEqual(stepsWith([1, 2], undefined), [1, 2]);
  // The next added one replaces it: after step 1, after the added one, and after step 2 of the plan.
  assert.deepEqual([0, 1, 2].map((step) => plannedUpTo(step, extra)), [1, 1, 2]);
  assert.deepEqual([0, 1].map((step) => plannedUpTo(step, undefined)), [1, 2]);
});

test("a text of the plan is for all languages, or has one for each and English for the others", () => {
  assert.equal(textOf("Join", "zh-Hans"), "Join");
  assert.equal(textOf({ en: "Join", "zh-Hans": "加入" }, "zh-Hans"), "加入");
  assert.equal(textOf({ en: "Join" }, "zh-Hant"), "Join");
});

test("the messages of an experiment are due one after the other, and have the same ids in every window", () => {
  const run = newRun(RUN, "messages", 10_000);
  assert.deepEqual(dueMessages(run, 9_000), []);
  assert.equal(dueMessages(run, 10_000).length, 1);
  assert.equal(dueMessages(run, 11_000).length, 6);
  const all = dueMessages(run, 1e9);
  assert.equal(new Set(all).size, EXPERIMENTS.messages.messages);
  assert.match(all.at(-1), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.ok(all.every((id) => isOfRun(id, RUN)));
  assert.ok(!isOfRun(RUN.replace("3f", "4f"), RUN));
  assert.deepEqual(dueMessages(newRun(RUN, "quiet", 0), 1e9), []);
  assert.deepEqual(dueMessages(newRun(RUN, "live", 0, undefined), 1e9), []);
});

test("a stopwatch shows minutes and seconds", () => {
  assert.deepEqual([stopwatch(0, 247_900), stopwatch(0, 3_600_000), stopwatch(5, 0)], ["4:07", "60:00", "0:00"]);
});

test("the rooms of a class fit into the longest name", () => {
  for (const room of Object.values(classRooms("聊".repeat(64)))) assert.ok(room.length <= 64);
  assert.equal(classRooms("lobby").commands, "lobby.class");
  assert.equal(offsetOf("a-b-41"), 41);
  assert.equal(cursorAt("841a5bd5c1-41", 40), "841a5bd5c1-40");
});

const counters = (requests, bytes) => ({ requests, bytes_in: bytes, bytes_out: 0 });
const member = (client, via, traffic) => ({ client, via, traffic });

test("only phones are measured, and only what they use to receive", () => {
  const members = [
    member("a", "sse", { sse: counters(1, 100), messages: counters(9, 900) }),
    member("lecturer", "sse", { sse: counters(1, 100) }),
  ];
  assert.deepEqual(snapshot(members, new Set(["a", "b"])), { a: { via: "sse", requests: 1, bytes: 100 } });
});

test("a phone costs what its counters grew by; one that joins later, or by another transport, all of them", () => {
  const first = { a: { via: "sse", requests: 1, bytes: 100 }, b: { via: "sse", requests: 1, bytes: 50 } };
  const last = merge(first, {
    a: { via: "sse", requests: 2, bytes: 400 }, b: { via: "websocket", requests: 1, bytes: 30 },
    c: { via: "sse", requests: 1, bytes: 10 },
  });
  assert.deepEqual(difference(first, last), {
    a: { via: "sse", requests: 1, bytes: 300 }, b: { via: "websocket", requests: 1, bytes: 30 },
    c: { via: "sse", requests: 1, bytes: 10 },
  });
  // A phone that is away keeps its last counters.
  assert.equal(difference(first, merge(last, {})).a.bytes, 300);
});

test("the last report of each phone about this run counts, and a row is the mean of its phones", () => {
  const say = (client, value) => ({ client, text: typeof value === "string" ? value : JSON.stringify(value) });
  const reports = takeReports({}, [
    say("a", { run: RUN, received: 1, delay: 5 }), say("a", { run: RUN, received: 4, delay: 10, gaps: 2 }),
    say("b", { run: RUN, received: 2, delay: 20 }), say("c", { run: "other", received: 9, delay: 1 }),
    say("d", "no JSON {"), say("e", { run: RUN, received: "many" }), say(null, { run: RUN, received: 1 }),
  ], RUN);
  assert.deepEqual(Object.keys(reports), ["a", "b"]);
  const costs = { a: { via: "sse", requests: 1, bytes: 100 }, b: { via: "sse", requests: 3, bytes: 300 } };
  assert.deepEqual(rowsOf(["sse", "websocket"], costs, reports), {
    sse: { phones: 2, requests: 2, bytes: 200, received: 3, delay: 15, gaps: 1 },
    websocket: { phones: 0, requests: undefined, bytes: undefined, received: undefined, delay: undefined, gaps: 0 },
  });
  assert.equal(median([3, 1, 2]), 2);
});

test("a message that has not arrived is late, and lost only where a phone reports a gap", () => {
  const [all, some] = [{ received: 50, gaps: 0 }, { received: 39, gaps: 0 }];
  assert.deepEqual(deliveryOf({ sse: all, websocket: { received: undefined } }, 50), {});
  assert.deepEqual(deliveryOf({ sse: some, websocket: all }, 50), { what: "late", phones: 0 });
  assert.deepEqual(deliveryOf({ sse: some, websocket: { received: 50, gaps: 1 } }, 50), { what: "lost", phones: 1 });
  assert.deepEqual(deliveryOf({ sse: some }, undefined), {});
});

test("of each phone two votes are kept, so that one after the end does not delete the one before", () => {
  const votes = [1, 2, 3, 4].map((offset) => ({ client: "ada", vote: "one", choice: "a", offset }));
  votes.push({ client: "ben", vote: "other", choice: "a", offset: 5 }, { client: "cai", vote: "one", choice: "b", offset: 6 });
  assert.deepEqual(latest(votes, "one").map(({ offset }) => offset), [3, 4, 6]);
  assert.equal(tally(latest(votes, "one"), { id: "one", until: "e-3" }, new Set(["ada"])).voters, 1);
});

test("the last vote of each phone counts, until the vote was closed", () => {
  let offset = 0;
  const vote = (client, text) => ({ client, text, cursor: `e-${++offset}` });
  const votes = votesIn([
    vote("ada", voteText("one", "a")), vote("ben", voteText("one", "b")), vote("ada", voteText("one", "c")),
    vote("cai", voteText("other", "a")), vote("dan", voteText("one", "d")), vote(null, voteText("one", "a")),
    vote("eve", "no JSON {"), vote("mallory", voteText("one", "a")), vote("ben", voteText("one", "a")),
  ]);
  const phones = new Set(["ada", "ben", "cai", "dan", "eve"]);
  assert.deepEqual(tally(votes, { id: "one" }, phones), { counts: { a: 1, b: 0, c: 1 }, voters: 2 });
  const closed = tally(votes, { id: "one", until: "e-8" }, phones);
  assert.deepEqual(closed, { counts: { a: 0, b: 1, c: 1 }, voters: 2 });
  assert.deepEqual(tally(votes, { id: "one", until: "e-0" }, phones).voters, 0);
});
