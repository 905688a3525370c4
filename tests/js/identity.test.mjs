// A client id is the hash of a secret.  The pages hash without crypto.subtle, which a page over the LAN lacks.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { newClient, secretOf } from "../../demos/static/identity.js";
import { sha256 } from "../../demos/static/sha256.js";

const encode = (text) => new TextEncoder().encode(text);

test("the digest is that of Node.js, at every length around the ends of blocks", () => {
  for (let length = 0; length <= 200; length++) {
    const text = "x€".repeat(length).slice(0, length);
    const expected = createHash("sha256").update(text).digest("hex");
    assert.equal(Buffer.from(sha256(encode(text))).toString("hex"), expected);
  }
});

test("a new client has the id of its secret, and a page that reloads has the same", () => {
  const client = newClient();
  const secret = secretOf(client);
  assert.match(secret, /^[0-9a-f]{32}$/);
  const hash = createHash("sha256").update(secret).digest("hex");
  assert.equal(client, `key-${hash.slice(0, 32)}`);
  assert.equal(newClient(secret), client);
  assert.notEqual(newClient(), client);
});

test("the page has no secret of other clients", () => {
  assert.equal(secretOf("ada"), undefined);
  assert.equal(secretOf(undefined), undefined);
});
