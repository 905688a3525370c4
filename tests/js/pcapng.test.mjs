// Capture files: what was written is read again, and a bad file is a named error.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { concat } from "../../demos/static/wire/http.js";
import { writePcapng } from "../../demos/static/wire/pcapng.js";
import { MAX_FILE_BYTES, readPcapng } from "../../demos/static/wire/pcapng_reader.js";
import { bytes, closed, request, response } from "./traffic.mjs";

const CASES = JSON.parse(readFileSync(new URL("../protocol/pcapng_cases.json", import.meta.url)));
const FILE = writePcapng([request(7, 1_000), response(7, 1_001.5, "{}"), closed(7, 1_002)]);

function decoded({ text, repeat = 1, ...record }) {
  return text === undefined ? record : { ...record, bytes: bytes(text.repeat(repeat)) };
}

test("records survive a file", () => {
  for (const { name, records } of CASES) {
    // The tap may report the end of a connection of which it has copied nothing.
    const expected = records.filter(({ connection }) => connection !== 99).map(decoded);
    assert.deepEqual(readPcapng(writePcapng(expected)), expected, name);
  }
});

test("a comment of any packet stays with its record", () => {
  const named = (text) => ({ comments: [text] });
  const long = { ...response(7, 2, "x".repeat(3_000)), ...named("first segment") };
  const end = { ...closed(7, 3), ...named("end") };
  const file = writePcapng([request(7, 1), long, end]);
  // As Wireshark would: in place of the note about the handshake, and of the comment of a segment.
  const renamed = replaced(file, ": this handshake is synthesised", ": this handshake is what I mean");
  const [first, second, last] = readPcapng(renamed);
  assert.deepEqual(first.comments, ["connection 7, sse: this handshake is what I mean"]);
  assert.deepEqual([second.comments, last.comments], [["first segment"], ["end"]]);
});

function replaced(file, one, other) {
  const text = Buffer.from(file).toString("latin1");
  assert.equal(one.length, other.length);
  assert.ok(text.includes(one));
  return new Uint8Array(Buffer.from(text.replace(one, other), "latin1"));
}

test("a file of a machine with the other byte order is read", () => {
  const file = FILE.slice();
  const view = new DataView(file.buffer);
  for (let at = 0; at < file.length;) at = turnBlock(view, at);
  assert.deepEqual(readPcapng(file), readPcapng(FILE));
});

// Turn the numbers of one block around, as far as the reader needs them.
function turnBlock(view, at) {
  const [kind, length] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
  const turn32 = (place) => view.setUint32(place, view.getUint32(place, true));
  const turn16 = (place) => view.setUint16(place, view.getUint16(place, true));
  let options = { 1: 16, 6: 28 }[kind];
  if (kind === 6) options += Math.ceil(view.getUint32(at + 20, true) / 4) * 4;
  if (kind === 1) turn16(at + 8);
  if (kind === 6) [8, 12, 16, 20, 24].forEach((place) => turn32(at + place));
  if (kind === 0x0a0d0d0a) turn32(at + 8);
  while (options && options < length - 4) {
    const size = view.getUint16(at + options + 2, true);
    [0, 2].forEach((place) => turn16(at + options + place));
    options += 4 + Math.ceil(size / 4) * 4;
  }
  [0, 4, length - 4].forEach((place) => turn32(at + place));
  return at + length;
}

function changed(place, value) {
  const file = FILE.slice();
  file[place] = value;
  return file;
}

/** Where the first block of a kind starts. */
function find(kind) {
  const view = new DataView(FILE.buffer);
  let at = 0;
  while (view.getUint32(at, true) !== kind) at += view.getUint32(at + 4, true);
  return at;
}

const BAD = [
  ["nothing", new Uint8Array(), "empty"],
  ["a few bytes", bytes("hello"), "not_pcapng"],
  ["the older format", bytes(`\xd4\xc3\xb2\xa1${"\0".repeat(40)}`), "not_pcapng"],
  ["no byte order", changed(8, 0), "not_pcapng"],
  ["its start only", FILE.slice(0, find(1)), "empty"],
  ["a block cut off", FILE.slice(0, -8), "damaged"],
  ["a length of 0", changed(find(6) + 4, 0), "damaged"],
  ["a length that is too small", changed(find(6) + 4, 8), "damaged"],
  ["a packet longer than its block", changed(find(6) + 21, 9), "damaged"],
  ["an option longer than its block", changed(find(1) + 19, 200), "damaged"],
  ["an interface that does not exist", changed(find(6) + 8, 3), "foreign"],
  ["packets with Ethernet", changed(find(1) + 8, 1), "foreign"],
  ["packets of IPv6", changed(find(6) + 28, 0x60), "foreign"],
  ["packets of another protocol", changed(find(6) + 28 + 9, 1), "foreign"],
  ["packets between others", changed(find(6) + 28 + 16, 193), "foreign"],
  ["a port that is none of ours", changed(find(6) + 28 + 20, 1), "foreign"],
  ["a time after all others", changed(find(6) + 15, 255), "damaged"],
  ["more than we read", new Uint8Array(MAX_FILE_BYTES + 1), "too_large"],
  ["more packets than we show", manyPackets(), "too_large"],
];

function manyPackets() {
  const packet = FILE.slice(find(6), find(6) + new DataView(FILE.buffer).getUint32(find(6) + 4, true));
  return concat([FILE.slice(0, find(6)), ...Array(100_001).fill(packet)]);
}

test("a bad file is a named error", () => {
  for (const [name, file, code] of BAD) {
    assert.throws(() => readPcapng(file), { code }, name);
  }
});

test("any damage is a named error, or nothing but other records", () => {
  const cuts = Array.from({ length: FILE.length }, (_, n) => FILE.slice(0, n));
  const flips = Array.from({ length: FILE.length }, (_, n) => changed(n, FILE[n] ^ 0xff));
  for (const file of [...cuts, ...flips]) {
    try {
      assert.ok(readPcapng(file).length);
    } catch (error) {
      assert.ok(error.code, error.stack);
    }
  }
});
