import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { sha1 } from "../../demos/static/lessons/sha1.js";

test("our SHA-1 is that of OpenSSL", () => {
  // Around the ends of one block and of two, where the padding needs another block or not.
  for (const length of [0, 1, 54, 55, 56, 63, 64, 65, 119, 120, 128, 1000]) {
    const text = "a".repeat(length);
    const digest = Buffer.from(sha1(new TextEncoder().encode(text))).toString("hex");
    assert.equal(digest, createHash("sha1").update(text).digest("hex"), `${length} bytes`);
  }
});
