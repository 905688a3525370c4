// Compressed traffic is inflated piece by piece; the diagram and the bytes count what is in it.

import assert from "node:assert/strict";
import { test } from "node:test";
import zlib from "node:zlib";

import { unmask } from "../../demos/static/wire/frames.js";
import { Blocks } from "../../demos/static/wire/blocks.js";
import { Inflater } from "../../demos/static/wire/inflate.js";
import { SWITCH, closed, record, request, text, traceOf } from "./traffic.mjs";

const HEAD = "\x1f\x8b\x08\0\0\0\0\0\0\xff";
const EVENT = 'id: 1\ndata: {"kind":"say","text":"hello"}\n\n';
const MASK = [1, 2, 3, 4];

// What the server makes of a piece: blocks of deflate that end with a flush and without a last block.
function piece(plain) {
  return text(zlib.deflateRawSync(plain, { finishFlush: zlib.constants.Z_SYNC_FLUSH }));
}

const chunk = (at, data) => record(1, "down", at, `${data.length.toString(16)}\r\n${data}\r\n`);

function head(at, coding, framing) {
  return record(1, "down", at, `HTTP/1.1 200 OK\r\nContent-Encoding: ${coding}\r\n${framing}\r\n\r\n`);
}

/** The records as the views receive them. */
async function inflated(...records) {
  const received = [];
  const inflater = new Inflater((one) => received.push(one));
  records.forEach((one) => inflater.feed(one));
  while (received.length < records.length) await new Promise(setImmediate);
  return received;
}

test("each chunk of a stream is inflated, the first without the head of gzip", async () => {
  const records = [
    request(1, 1), head(2, "gzip", "Transfer-Encoding: chunked"),
    chunk(3, HEAD + piece(":\n\n")), chunk(4, piece(EVENT)), closed(1, 5),
  ];
  const received = await inflated(...records);
  assert.deepEqual(received.map(({ at }) => at), [1, 2, 3, 4, 5]);
  const plain = received.flatMap((one) => [...(one.plain?.values() ?? [])].map(text));
  assert.deepEqual(plain, [":\n\n", EVENT]);
  const { trace } = traceOf(...received);
  assert.deepEqual(trace.entries.map(({ type }) => type), ["request", "stream", "heartbeat", "event", "disconnect"]);
  const blocks = new Blocks();
  received.forEach((one) => blocks.feed(one));
  assert.equal(blocks.totals.text, "hello".length);
  const last = blocks.take().at(-1);
  assert.deepEqual(last.parts.map(({ kind }) => kind), ["chunk-size", "chunk-data", "chunk-end", "inflated"]);
  assert.equal(last.bytes, records[3].bytes.length);
});

test("a poll is inflated as a whole", async () => {
  const body = text(zlib.gzipSync('{"cursor":"e-2","events":[{"kind":"say"},{"kind":"say"}]}'));
  const poll = request(1, 1, "GET /rooms/r/short_polling");
  const answer = head(2, "gzip", `Content-Length: ${body.length}`);
  answer.bytes = Uint8Array.from([...answer.bytes, ...Buffer.from(body, "latin1")]);
  const { trace } = traceOf(...await inflated(poll, answer));
  assert.equal(trace.entries.at(-1).events, 2);
});

test("frames are inflated in both directions, and a plain one stays as it is", async () => {
  const compressed = (plain) => piece(plain).replace(/\0\0\xff\xff$/, "");
  const down = compressed('{"kind":"say","text":"hello"}');
  const up = compressed('{"text":"hi"}');
  const masked = text(unmask(Uint8Array.from(Buffer.from(up, "latin1")), MASK));
  const received = await inflated(
    request(1, 1, "GET /rooms/r/websocket"), record(1, "down", 2, SWITCH),
    record(1, "down", 3, `\xc1${String.fromCharCode(down.length)}${down}`),
    record(1, "up", 4, `\xc1${String.fromCharCode(0x80 | up.length)}\x01\x02\x03\x04${masked}`),
    record(1, "down", 5, '\x81\x0e{"kind":"ack"}'),
  );
  assert.deepEqual(received.map(({ plain }) => [...(plain?.values() ?? [])].map(text)), [
    [], [], ['{"kind":"say","text":"hello"}'], ['{"text":"hi"}'], [],
  ]);
  const { trace } = traceOf(...received);
  assert.deepEqual(trace.entries.slice(2).map(({ type }) => type), ["event", "message", "ack"]);
});

test("what cannot be inflated is passed on as it is", async () => {
  const received = await inflated(
    request(1, 1), head(2, "gzip", "Transfer-Encoding: chunked"), chunk(3, `${HEAD}${"*".repeat(20)}`),
    chunk(4, piece(EVENT)),
  );
  assert.equal(received[2].plain.size, 0);
  assert.equal(received[3].plain.size, 1);
});

test("a piece that inflates to more than any of ours is passed on as it is", async () => {
  for (const [size, found] of [[4 * 2 ** 20, 1], [4 * 2 ** 20 + 1, 0]]) {
    const body = text(zlib.gzipSync("x".repeat(size)));
    const answer = head(2, "gzip", `Content-Length: ${body.length}`);
    answer.bytes = Uint8Array.from([...answer.bytes, ...Buffer.from(body, "latin1")]);
    const [, { plain }] = await inflated(request(1, 1, "GET /rooms/r/short_polling"), answer);
    assert.equal(plain.size, found);
  }
});
