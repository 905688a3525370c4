import assert from "node:assert/strict";
import { test } from "node:test";

import { PendingAcks } from "../../demos/static/acks.js";

test("a message without an acknowledgement fails after its own timeout, and not before", async () => {
  const [impatient, patient] = [new PendingAcks(1), new PendingAcks(60_000)];
  const late = patient.wait("a", () => {});
  await assert.rejects(impatient.wait("a", () => {}), { code: "network" });
  patient.receive({ kind: "ack", id: "a", cursor: "e-1" });
  assert.equal((await late).cursor, "e-1");
});
