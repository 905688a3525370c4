// What a page saves: the records that it keeps, HAR, explanations, and the page in one file.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import zlib from "node:zlib";

import { withCaptions } from "../../demos/static/wire/captions.js";
import { unmask } from "../../demos/static/wire/frames.js";
import { HarBuilder } from "../../demos/static/wire/har.js";
import { Inflater } from "../../demos/static/wire/inflate.js";
import { readPcapng } from "../../demos/static/wire/pcapng_reader.js";
import { writePcapng } from "../../demos/static/wire/pcapng.js";
import { Recorder } from "../../demos/static/wire/recorder.js";
import { singleFile } from "../../demos/static/wire/single_file.js";
import {
  bytes, chunk, closed, event, record, request, response, stream, SWITCH, text, useLanguage,
} from "./traffic.mjs";

const SECRET = "0123456789abcdef0123456789abcdef";
const POLL = "GET /rooms/r/short_polling";

useLanguage("en");

function recorded(...records) {
  const recorder = new Recorder(SECRET);
  records.forEach((one) => recorder.feed(one));
  return recorder;
}

// --- the recorder ----------------------------------------------------------------------------------

test("the secret of the capture is not kept, and the page still has it", () => {
  const first = request(1, 1, `GET /rooms/r/sse?trace=${SECRET}&again=${SECRET}`);
  const [kept] = recorded(first).records;
  assert.match(text(kept.bytes), /trace=\*{32}&again=\*{32} HTTP/);
  assert.equal(kept.bytes.length, first.bytes.length);
  assert.match(text(first.bytes), new RegExp(SECRET));
});

test("above the limit the oldest records are left out, and what is still open keeps its headers", () => {
  const big = chunk(1, 3, "x".repeat(100_000));
  const recorder = recorded(
    request(1, 1), stream(1, 2), request(2, 2, POLL), response(2, 2, "{}"),
    ...Array.from({ length: 60 }, (_, n) => ({ ...big, at: 3 + n })),
  );
  const { records } = recorder;
  assert.deepEqual(records.slice(0, 3).map(({ at, dropped }) => dropped ?? at), [1, 2, records[2].dropped]);
  assert.ok(records[2].dropped > 1_000_000);
  const size = records.reduce((sum, one) => sum + (one.bytes?.length ?? 0), 0);
  assert.ok(size < 4.5 * 2 ** 20);
  assert.ok(!records.some(({ connection }) => connection === 2));
  recorder.feed(closed(1, 100));
  recorder.feed(request(3, 101));
  recorder.clear();
  recorder.feed(event(3, 102));
  assert.deepEqual(recorder.records.map(({ at }) => at), [101, 102]);
});

test("the handshake of a WebSocket is kept as long as its connection", () => {
  const recorder = recorded(request(1, 1, "GET /rooms/r/websocket"), record(1, "down", 2, `${SWITCH}\x81\x02hi`));
  recorder.clear();
  recorder.feed(record(1, "down", 3, "\x81\x02ho"));
  assert.deepEqual(recorder.records.map(({ at }) => at), [1, 2, 3]);
  recorder.feed(closed(1, 4));
  recorder.clear();
  assert.deepEqual(recorder.records, []);
});

// --- explanations ----------------------------------------------------------------------------------

test("each packet has the page's explanation of what starts in it; comments of a file stay", () => {
  const records = [request(1, 1), { ...stream(1, 2), comments: ["look here"] }, event(1, 3), closed(1, 4)];
  const [head, answer, piece, end] = withCaptions(records);
  assert.match(head.comments[0], /^Request line · .+RFC 9112 §3$/);
  assert.deepEqual(answer.comments, ["look here"]);
  assert.match(piece.comments[0], /^Chunk size · .+\nEvent of server-sent events · .+HTML §9\.2\.5$/);
  assert.equal(end.comments, undefined);
  const read = readPcapng(writePcapng([head, answer, piece, end]));
  assert.deepEqual(read.map(({ comments }) => comments), [head, answer, piece, end].map(({ comments }) => comments));
});

test("a packet has few explanations, and a file no more than can be opened again", () => {
  const frames = { ...record(1, "down", 2, `${SWITCH}${"\x81\x02hi".repeat(100)}`) };
  const records = [request(1, 1, "GET /rooms/r/websocket"), frames];
  assert.equal(withCaptions(records)[1].comments.length, 4);
  const many = Array.from({ length: 40_000 }, (_, n) => record(1, "down", 3 + n, "\x81\x02hi"));
  const captions = withCaptions([...records, ...many]).flatMap(({ comments = [] }) => comments);
  assert.ok(captions.length > 10_000 && captions.join("").length < 4.1 * 2 ** 20);
});

// --- HAR -------------------------------------------------------------------------------------------

async function harOf(...records) {
  const builder = new HarBuilder();
  const inflater = new Inflater((one) => builder.feed(one));
  records.forEach((one) => inflater.feed(one));
  await inflater.flush();
  return builder.log.log;
}

test("a request becomes an entry with its times and sizes", async () => {
  const post = "POST /rooms/r/messages?client=a%20b";
  const body = '{"text":"你好"}';
  const raw = Buffer.from(body).toString("latin1");
  const head = `${post} HTTP/1.1\r\nHost: localhost:8000\r\nContent-Type: application/json\r\nContent-Length: ${raw.length}\r\n\r\n`;
  const { version, entries: [entry] } = await harOf(
    record(1, "up", 1_000, head), record(1, "up", 1_002, raw), response(1, 1_010, "{}", "201 Created"),
  );
  assert.equal(version, "1.2");
  assert.equal(entry.startedDateTime, "1970-01-01T00:00:01.000Z");
  assert.deepEqual(entry.timings, { send: 2, wait: 8, receive: 0 });
  assert.equal(entry.time, 10);
  assert.equal(entry.request.url, "http://localhost:8000/rooms/r/messages?client=a%20b");
  assert.deepEqual(entry.request.queryString, [{ name: "client", value: "a b" }]);
  assert.deepEqual(entry.request.postData, { mimeType: "application/json", text: body });
  assert.deepEqual(entry.request.headers[0], { name: "Host", value: "localhost:8000" });
  assert.deepEqual([entry.request.headersSize, entry.request.bodySize], [head.length, raw.length]);
  assert.deepEqual([entry.response.status, entry.response.statusText], [201, "Created"]);
  assert.equal(entry.response.content.text, "{}");
});

test("a request that is refused before its end has no negative times", async () => {
  const head = "POST /rooms/r/messages HTTP/1.1\r\nContent-Length: 4\r\n\r\n";
  const { entries: [entry] } = await harOf(
    record(1, "up", 1_000, head), response(1, 1_003, "{}", "413 Content Too Large"), record(1, "up", 1_005, "late"),
  );
  assert.deepEqual(entry.timings, { send: 3, wait: 0, receive: 0 });
});

test("a stream is inflated, and lasts until the last record", async () => {
  const piece = zlib.deflateRawSync("data: 1\n\n", { finishFlush: zlib.constants.Z_SYNC_FLUSH });
  const head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n";
  const { entries: [entry] } = await harOf(
    request(1, 0), record(1, "down", 5, head), chunk(1, 6, `\x1f\x8b\x08\0\0\0\0\0\0\xff${text(piece)}`),
    request(2, 30), { connection: 9, at: 40, closed: true },
  );
  assert.equal(entry.response.content.text, "data: 1\n\n");
  assert.deepEqual(entry.timings, { send: 0, wait: 5, receive: 35 });
});

test("the messages of a WebSocket are those that Chrome writes", async () => {
  const mask = [1, 2, 3, 4];
  const masked = text(unmask(bytes("hi"), mask));
  const { entries: [entry] } = await harOf(
    request(1, 0, "GET /rooms/r/websocket"), record(1, "down", 5, `${SWITCH}\x81\x05hello\x89\x00`),
    record(1, "up", 1_500, `\x81\x82\x01\x02\x03\x04${masked}`), record(1, "down", 2_000, "\x82\x01\xff"),
  );
  assert.equal(entry.request.url, "ws://x/rooms/r/websocket");
  assert.equal(entry._resourceType, "websocket");
  assert.deepEqual(entry._webSocketMessages, [
    { type: "receive", time: 0.005, opcode: 1, data: "hello" },
    { type: "send", time: 1.5, opcode: 1, data: "hi" },
    { type: "receive", time: 2, opcode: 2, data: "/w==" },
  ]);
});

test("a request without a response, or with any target, is an entry as well", async () => {
  const { entries } = await harOf(request(1, 0, "GET //["), request(2, 1));
  assert.deepEqual(entries.map(({ response: { status } }) => status), [0, 0]);
  assert.equal(entries[0].request.url, "http://unknown/");
});

// --- one file --------------------------------------------------------------------------------------

const DEMOS = new URL("../../demos/", import.meta.url);

const FILE = writePcapng([request(1, 1), response(1, 2, "{}")]);

function load(path) {
  return readFile(new URL(path, DEMOS), "utf8");
}

test("the page in one file loads nothing, and has the texts that its scripts use", async () => {
  const page = await singleFile(load, "lesson", FILE);
  const embedded = /<script type="application\/capture" id="embedded-capture" data-name="lesson">([^<]+)</.exec(page)[1];
  assert.deepEqual(Uint8Array.from(Buffer.from(embedded, "base64")), FILE);
  assert.doesNotMatch(page, /<(script|img|link)[^>]+(src|href)="(?!data:)/);
  assert.doesNotMatch(page, /@import/);
  assert.ok(page.indexOf("Content-Security-Policy") < page.indexOf("<style"));

  const { imports } = JSON.parse(/<script type="importmap">(.+?)<\/script>/.exec(page)[1]);
  const sources = Object.values(imports).map((url) => decodeURIComponent(url.split(",").slice(1).join(",")));
  const named = sources.flatMap((source) => [...source.matchAll(/\b(?:from|import) "([^"]+)"/g)].map(([, name]) => name));
  assert.deepEqual(named.filter((name) => !(name in imports)), []);
  assert.ok(Object.keys(imports).includes("static/wire/sequence.js"));

  // The texts of errors are those of a server, which this page does not have.
  const code = sources.join("\n").replaceAll(/^ *(\/\/|\*).*/gm, "");
  const keys = [...code.matchAll(/\bt\("([\w.-]+)"|data-i18n(?:-[a-z-]+)?="([\w.-]+)"/g)].map(([, one, other]) => one ?? other);
  const prefixes = [...code.matchAll(/\bt\(`([\w.-]+)/g)].map(([, prefix]) => prefix).filter((prefix) => prefix !== "trouble.");
  assert.ok(keys.length > 20 && prefixes.length > 5);
  for (const language of ["en", "zh-Hans", "zh-Hant"]) {
    const texts = JSON.parse(new RegExp(`data-catalogue="${language}">(.+?)</script>`).exec(page)[1]);
    assert.deepEqual(keys.filter((key) => !(key in texts) && !key.startsWith("trouble.")), [], language);
    const unused = (prefix) => !Object.keys(texts).some((key) => key.startsWith(prefix));
    assert.deepEqual(prefixes.filter(unused), [], language);
  }
});

test("no text ends the script that it is in", async () => {
  const evil = { "capture.evil": "</script><script>alert(1)</script>" };
  const page = await singleFile(async (path) => (path === "i18n/en.json" ? JSON.stringify(evil) : load(path)), "lesson", FILE);
  assert.deepEqual(JSON.parse(/data-catalogue="en">(.+?)<\/script>/.exec(page)[1]), evil);
});
