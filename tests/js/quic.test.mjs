// A QUIC connection in captured traffic: packets of known size, and lines of plain text in its stream.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Demux } from "../../demos/static/story/demux.js";
import { Blocks } from "../../demos/static/wire/blocks.js";
import { explain } from "../../demos/static/wire/explain.js";
import { describe, label, totals } from "../../demos/static/wire/labels.js";
import { sizeOf } from "../../demos/static/wire/payload.js";
import { networkBytes } from "../../demos/static/wire/quic.js";
import { TrafficParser } from "../../demos/static/wire/traffic_parser.js";
import {
  closed, packet, record, request, streamed, text, traceOf, useLanguage,
} from "./traffic.mjs";

const EVENT = '{"kind":"say","cursor":"e-1"}\n';
const ACK = '{"kind": "ack", "id": "1"}\n';
const MESSAGE = '{"id":"1","text":"hi"}\n';
const CONNECT = ":method: CONNECT\r\n:protocol: webtransport\r\n:path: /rooms/r/webtransport?after=now\r\norigin: http://x\r\n\r\n";

beforeEach(() => useLanguage("en"));

function datagram(at, data) {
  return { ...record(7, "down", at, data), transport: "webtransport", datagram: true };
}

/** The complete messages of some records: `[kind, direction, bytes]`. */
function messagesOf(records) {
  const found = [];
  const parser = new TrafficParser({
    onMessage({ kind, direction, endedAt, bytes: size }) {
      if (endedAt !== undefined) found.push([kind, direction, size]);
    },
  });
  records.forEach((one) => parser.feed(one));
  return found;
}

test("lines are whole, whatever pieces their bytes come in, and packets may come between the pieces", () => {
  const whole = [["line", "down", 1], ["line", "down", EVENT.length]];
  const pieces = [...`\n${EVENT}`].map((character, n) => streamed("down", n, character));
  assert.deepEqual(messagesOf([streamed("down", 0, `\n${EVENT}`)]), whole);
  assert.deepEqual(messagesOf(pieces), whole);
  const mixed = pieces.flatMap((piece) => [packet("down", 0, 60), piece]);
  assert.deepEqual(messagesOf(mixed).filter(([kind]) => kind === "line"), whole);
});

test("each direction and each stream has separate lines", () => {
  const records = [streamed("down", 0, '{"a'), streamed("up", 1, '{"b"}\n'), streamed("down", 2, '{"c"}\n', 5), streamed("down", 3, '"}\n')];
  assert.deepEqual(messagesOf(records), [["line", "up", 6], ["line", "down", 6], ["line", "down", 6]]);
});

test("only packets are bytes of the network, since streams and datagrams are inside them", () => {
  assert.equal(networkBytes(packet("up", 0, 1200)), 1200);
  assert.equal(networkBytes(streamed("down", 0, EVENT)), 0);
  assert.equal(networkBytes(datagram(0, EVENT)), 0);
  assert.equal(networkBytes(request(7, 0)), request(7, 0).bytes.length);
  assert.equal(networkBytes(closed(7, 0)), 0);
});

test("a trace shows a request and its stream, its lines, and the packets of a second as one arrow", () => {
  const { trace } = traceOf(
    packet("up", 0, 1200), packet("down", 2, 1200), packet("up", 3, 80), packet("up", 4, 50),
    streamed("up", 5, CONNECT, 0), streamed("down", 9, ":status: 200\r\n\r\n", 0),
    streamed("down", 10, "\n"), streamed("down", 20, EVENT), streamed("up", 30, MESSAGE), streamed("down", 31, ACK),
    streamed("down", 40, '{"kind": "error", "id": "2"}\n'), datagram(50, EVENT.trim()), closed(7, 70),
  );
  assert.deepEqual(trace.entries.map((entry) => label(entry).join(" · ")), [
    "QUIC packets: 3, 1.3 kB in 4 ms", "QUIC packet · 1.2 kB", "CONNECT …/webtransport", "200 · stays open",
    "heartbeat · 1 B", `1 event · ${EVENT.length} B`, `message · ${MESSAGE.length} B`, `ack · ${ACK.length} B`,
    "line · 29 B", `datagram · ${EVENT.length - 1} B`, "connection 1 ended",
  ]);
  const [bar] = trace.bars;
  assert.deepEqual([bar.type, bar.from, bar.to], ["stream", 5, 70]);
  assert.equal(
    totals(trace.totals, "webtransport"),
    "requests: 1 · events: 1 · heartbeats: 1 · connections: 1 · ↑ 1.3 kB · ↓ 1.2 kB",
  );
  assert.match(describe(trace.entries[2], 0), /request CONNECT .*after=now had arrived in packets of connection 1/);
});

test("a refused request has a status and a body", () => {
  const error = '{"error":{"code":"room_locked"}}';
  const { trace } = traceOf(
    streamed("up", 5, CONNECT, 0), streamed("down", 9, ":status: 403\r\ncontent-type: application/json\r\n\r\n", 0),
    streamed("down", 9, error, 0),
  );
  assert.deepEqual(trace.entries.map((entry) => label(entry).join(" · ")), [
    "CONNECT …/webtransport", `CONNECT … 403 · ${error.length} B`,
  ]);
});

test("a page is cut off from the end of its connection until the next request", () => {
  const again = (one) => ({ ...one, connection: 8 });
  const { trace } = traceOf(
    streamed("up", 0, CONNECT, 0), closed(7, 100), again(packet("up", 150, 1200)), again(streamed("up", 300, CONNECT, 0)),
  );
  assert.deepEqual(trace.outages, [{ type: "cut", from: 100, to: 300 }]);
  assert.equal(trace.entries.at(-1).endsOutage, true);
});

test("the wire view has a block for each packet and line, with keys and explanations", () => {
  const found = [];
  const blocks = new Blocks((unit, keys) => found.push([...keys]));
  [packet("up", 0, 1200), streamed("down", 1, EVENT.slice(0, 9)), packet("down", 2, 90), streamed("down", 3, EVENT.slice(9))]
    .forEach((one) => blocks.feed(one));
  const [first, line, second] = blocks.take();
  assert.deepEqual([first, second].map((block) => [block.bytes, sizeOf(block.parts[0])]), [[1200, 1200], [90, 90]]);
  assert.equal(line.parts.map((part) => text(part.bytes)).join(""), EVENT);
  assert.deepEqual(blocks.totals, { up: 1200, down: 90, text: 0 });
  assert.deepEqual(found.filter((keys) => keys.length), [["e-1"]]);
  assert.match(explain(first.parts[0], first).section, /RFC 9000/);
  assert.equal(explain(line.parts[0], line).title, "Line of JSON in a stream");
  assert.equal(explain(line.parts.at(-1), line).title, "Line feed");
  blocks.feed(streamed("up", 4, CONNECT, 0));
  const [head] = blocks.take();
  assert.equal(head.message.startLine, "CONNECT /rooms/r/webtransport?after=now");
  assert.deepEqual(head.parts.map((part) => explain(part, head).title), [
    ":method", ":protocol", ":path", "origin", "End of the header section",
  ]);
});

test("packets belong to the lane that has a QUIC connection, and the last ones of an old one to none", () => {
  const demux = new Demux();
  const received = { old: [], next: [] };
  demux.add("old", (one) => received.old.push(one), { quic: true });
  demux.feed(packet("up", 0, 1200));
  demux.remove("old");
  demux.add("next", (one) => received.next.push(one), { quic: true });
  demux.feed(packet("up", 1, 40));
  demux.feed(closed(7, 2));
  demux.feed(packet("up", 3, 1200, 8));
  assert.deepEqual(received, { old: [packet("up", 0, 1200)], next: [packet("up", 3, 1200, 8)] });
});
