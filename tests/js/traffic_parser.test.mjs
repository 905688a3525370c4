// The parsers of the wire view: bytes in pieces of any size give the same parts.

import assert from "node:assert/strict";
import { test } from "node:test";

import { unmask } from "../../demos/static/wire/frames.js";
import { TrafficParser } from "../../demos/static/wire/traffic_parser.js";
import { bytes, text } from "./traffic.mjs";

const GROWING = ["body", "chunk-data", "frame-payload", "unknown"];
const GET = "GET /rooms/a/sse HTTP/1.1\r\nHost: x\r\nX-Via: one\r\nX-Via: two\r\n\r\n";

/** Parse `[connection, direction, data]`, in pieces of `step` bytes; without data a connection closes. */
function parse(records, step) {
  const parts = [];
  const messages = new Map();
  const parser = new TrafficParser({
    onPart({ message: { id }, kind, bytes: some }) {
      const last = parts.at(-1);
      if (GROWING.includes(kind) && last?.id === id && last.kind === kind) last.text += text(some);
      else parts.push({ id, kind, text: text(some) });
    },
    onMessage: (message) => messages.set(message.id, { ...message }),
  });
  for (const [connection, direction, data] of records) {
    if (!data) parser.feed({ connection, at: 2, closed: true });
    for (let at = 0; at < data?.length; at += step) {
      const piece = bytes(data.slice(at, at + step));
      parser.feed({ connection, transport: "sse", direction, at: 1, bytes: piece });
    }
  }
  return { parts, messages: [...messages.values()] };
}

/** The result for whole records, which must be the same for pieces of any size. */
function parseInAnyPieces(records) {
  const whole = parse(records, Infinity);
  for (const step of [1, 2, 3, 7]) assert.deepEqual(parse(records, step), whole);
  return whole;
}

function kindsAndTexts(parts) {
  return parts.map((part) => [part.kind, part.text]);
}

function isComplete({ endedAt }) {
  return endedAt !== undefined;
}

test("a request and a response with a length", () => {
  const ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
  const { parts, messages: [request, response] } = parseInAnyPieces([[1, "up", GET], [1, "down", ok]]);
  assert.deepEqual(kindsAndTexts(parts), [
    ["start-line", "GET /rooms/a/sse HTTP/1.1\r\n"],
    ["field", "Host: x\r\n"],
    ["field", "X-Via: one\r\n"],
    ["field", "X-Via: two\r\n"],
    ["head-end", "\r\n"],
    ["start-line", "HTTP/1.1 200 OK\r\n"],
    ["field", "Content-Length: 5\r\n"],
    ["head-end", "\r\n"],
    ["body", "hello"],
  ]);
  assert.equal(request.kind, "request");
  assert.equal(request.bytes, GET.length);
  assert.equal(request.fields.get("x-via"), "one, two");
  assert.equal(response.status, 200);
  assert.equal(response.bytes, ok.length);
  assert.equal(response.bodyBytes, 5);
  assert.equal(response.request.target, "/rooms/a/sse");
  assert.ok(isComplete(request) && isComplete(response));
});

test("a streaming response in chunks is open until its last chunk", () => {
  const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const body = `3\r\nabc\r\n1a;x=y\r\n${"z".repeat(26)}\r\n`;
  const records = [[1, "up", GET], [1, "down", head + body]];
  const open = parseInAnyPieces(records);
  assert.deepEqual(kindsAndTexts(open.parts).slice(-6), [
    ["chunk-size", "3\r\n"],
    ["chunk-data", "abc"],
    ["chunk-end", "\r\n"],
    ["chunk-size", "1a;x=y\r\n"],
    ["chunk-data", "z".repeat(26)],
    ["chunk-end", "\r\n"],
  ]);
  assert.equal(open.messages[1].bodyBytes, 29);
  assert.ok(!isComplete(open.messages[1]));
  const ended = parseInAnyPieces([...records, [1, "down", "0\r\n\r\n"]]);
  assert.deepEqual(kindsAndTexts(ended.parts).slice(-2), [["last-chunk", "0\r\n"], ["chunk-end", "\r\n"]]);
  assert.ok(isComplete(ended.messages[1]));
});

test("one connection carries one request after the other", () => {
  const { messages } = parseInAnyPieces([
    [1, "up", "HEAD / HTTP/1.1\r\n\r\n"],
    [1, "up", "POST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"],
    [1, "down", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"],
    [1, "down", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"],
    [1, "up", GET],
    [1, "down", "HTTP/1.1 200 OK\r\n\r\nuntil it is closed"],
    [1],
  ]);
  const responses = messages.filter(({ kind }) => kind === "response");
  assert.deepEqual(responses.map(({ status, request, bodyBytes }) => [status, request.target, bodyBytes]), [
    [200, "/", 0], [100, "/b", 0], [204, "/b", 0], [200, "/rooms/a/sse", 18],
  ]);
  assert.ok(messages.every(isComplete));
});

test("after a 101 there are frames", () => {
  const masked = `\x81\x82\x01\x02\x03\x04${text([0x68 ^ 1, 0x69 ^ 2])}`; // "hi"
  const long = `\x01\x7e\x01\x00${"x".repeat(256)}\x80\x7f\0\0\0\0\0\x01\0\0${"y".repeat(65_536)}`;
  const { parts, messages } = parse([
    [1, "up", "GET /rooms/a/websocket HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"],
    [1, "down", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello\x89\x00"],
    [1, "up", masked],
    [1, "down", long],
  ], 5);
  const frames = messages.filter(({ kind }) => kind === "frame");
  assert.deepEqual(frames.map(({ opcode, fin, length }) => [opcode, fin, length]), [
    [1, true, 5], [9, true, 0], [1, true, 2], [1, false, 256], [0, true, 65_536],
  ]);
  assert.deepEqual([...frames[2].mask], [1, 2, 3, 4]);
  assert.ok(frames.every(isComplete));
  const last = parts.filter(({ id }) => id === parts.at(-1).id).map(({ kind }) => kind);
  assert.deepEqual(last, ["frame-head", "frame-length", "frame-payload"]);
});

test("unmasking continues at an offset", () => {
  const masked = Uint8Array.from([104 ^ 3, 105 ^ 4, 106 ^ 1]);
  assert.equal(text(unmask(masked, [1, 2, 3, 4], 2)), "hij");
});

for (const garbage of [
  "\x16\x03\x01 this is TLS\r\nand more",
  "GET /a HTTP/1.1\r\nno field at all\r\nand more",
  "POST /a HTTP/1.1\r\nContent-Length: x\r\n\r\nand more",
  "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nand more",
  "x".repeat(70_000),
]) {
  test(`bytes that are not HTTP are unknown, and none is lost: ${JSON.stringify(garbage.slice(0, 40))}`, () => {
    for (const step of [Infinity, 1000, 3]) {
      const { parts } = parse([[1, "up", garbage]], step);
      assert.equal(parts.map((part) => part.text).join(""), garbage);
      assert.equal(parts.at(-1).kind, "unknown");
    }
  });
}
