// Fault injection: the lecturer breaks a part of the running system, and an audit shows what readers notice.
// A sender and one reader per transport run in this page; everything else is what the server reports.

import { request, requestJSON, ROOT, roomUrl } from "./api.js";
import { byId, el } from "./dom.js";
import { AuditedReader } from "./faults/reader.js";
import { SystemMap } from "./faults/map.js";
import { choose, explain, language, LANGUAGES, number, t, time } from "./i18n.js";
import { ConsistencyChecker } from "./lab/audit.js";
import { takeKey } from "./lecturer/key.js";
import { gapText } from "./log.js";
import { Outbox } from "./outbox.js";
import { TCP_TRANSPORTS, transportLabel } from "./page_layout.js";
import { publish, uuid } from "./publish.js";

const SEND_INTERVAL = 250; // ms
const LOOK_INTERVAL = 500;
const LOOK_TIMEOUT = 5_000;
const MAX_UNSENT = 20; // while nothing is confirmed, no more messages are added
const SECONDS = [2, 5, 10, 20, 30];
const FIRST_SECONDS = 5;
const MAX_LINES = 12;
const FAULTS = ["missing", "duplicated", "reordered"];
const SILENT = 3; // seconds without a message
const SAME_GAP = 5; // seconds: gaps of the same reason are one line in the log

const key = takeKey();
const room = new URLSearchParams(location.search).get("room") || "fault-audit";
const client = uuid();
const now = () => performance.now() / 1000;
const startedAt = now();

const checker = new ConsistencyChecker();
const readers = TCP_TRANSPORTS.map((transport) => new AuditedReader(transport, checker));
const map = new SystemMap(byId("map"), key ? inject : undefined);
const outbox = new Outbox((message) => publish(room, message, { base: bases[0] }), onSent);
let bases = [undefined]; // where browsers find the rooms
let sentCount = 0;
let confirmed = 0;
let gap = {}; // the latest line about one: {text, at, line}
const known = new Map(); // the number of each fault that the log has, and its line

for (const [code, name] of Object.entries(LANGUAGES)) byId("language").append(new Option(name, code));
byId("language").value = language;
byId("language").addEventListener("change", () => choose(byId("language").value));
byId("seconds").append(...SECONDS.map((n) => {
  return new Option(t("faults.n_seconds", { n }), n, n === FIRST_SECONDS, n === FIRST_SECONDS);
}));
byId("keyless").hidden = Boolean(key);
byId("flow").hidden = !key;
start();

async function start() {
  let report;
  try {
    report = await fetchReport();
  } catch (error) {
    if (error.code === "not_found") return showElsewhere();
    byId("error").textContent = explain(error);
    return void setTimeout(start, 1000);
  }
  byId("system").hidden = false;
  byId("duration").hidden = !key || !report.controls.some(({ timed }) => timed);
  bases = report.entries.length ? report.entries.map(baseOf) : [undefined];
  await startReaders();
  // A class that watches must not send as well.
  if (key) setInterval(sendNext, SEND_INTERVAL);
  refresh();
}

function showElsewhere() {
  byId("elsewhere").hidden = false;
  byId("keyless").hidden = true;
}

// --- the audit -------------------------------------------------------------------------------------

function baseOf(entry) {
  return new URL(`${location.protocol}//${location.hostname}:${entry}`);
}

// All start at the same cursor, so that all must receive the same messages.
async function startReaders() {
  const after = await newestCursor();
  readers.forEach(async (reader, i) => {
    const { connect } = await import(`./transports/${reader.transport}.js`);
    const base = bases[i % bases.length];
    reader.start(connect, { room, client, base, after, now, onEvent: (event) => onEvent(reader, event) });
  });
}

async function newestCursor() {
  try {
    return (await requestJSON(roomUrl(room, "short_polling", { after: "now" }, bases[0]))).cursor;
  } catch {
    return "now";
  }
}

function onEvent(reader, event) {
  if (event.kind !== "gap") return;
  checker.reset();
  const text = gapText(event);
  if (gap.text !== text || now() - gap.at > SAME_GAP) gap = { text, at: now(), line: log(text) };
  gap.line.append(" ", transportLabel(reader.transport));
}

function sendNext() {
  if (outbox.messages.length >= MAX_UNSENT) return;
  sentCount += 1;
  outbox.add({ id: uuid(), text: `${sentCount}`, client, name: "audit", via: "post" });
}

function onSent(message, state, error) {
  if (state === "accepted") {
    confirmed += 1;
    checker.acknowledge(message.id);
  } else if (state === "refused") {
    log(t("faults.refused", { why: explain(error) }));
  }
}

addEventListener("pagehide", () => readers.forEach((reader) => reader.stop()));
// The readers were closed for the cache of pages: a return starts the audit again.
addEventListener("pageshow", ({ persisted }) => { if (persisted) location.reload(); });

// --- what the server reports -----------------------------------------------------------------------

function fetchReport() {
  return requestJSON(new URL("faults", ROOT), { signal: AbortSignal.timeout(LOOK_TIMEOUT) });
}

async function refresh() {
  try {
    show(await fetchReport());
    byId("error").textContent = "";
  } catch (error) {
    byId("error").textContent = explain(error);
  }
  showAudit();
  setTimeout(refresh, LOOK_INTERVAL);
}

function show(report) {
  const open = readers.filter(({ state }) => state === "open").length;
  const text = t("faults.readers", { open: number(open), all: number(readers.length) });
  const redis = report.parts.find(({ id }) => id === "redis");
  if (redis && report.refused.redis) redis.label = t("faults.not_ours", { label: redis.label });
  map.show(report, { state: open ? "up" : "down", text });
  report.faults.toReversed().forEach(showFault);
}

function showFault(fault) {
  if (!known.has(fault.number)) {
    const at = now() - fault.age;
    known.set(fault.number, logAt(Date.now() - fault.age * 1000, ""));
    if (at > startedAt) readers.forEach((reader) => reader.restart(at));
  }
  known.get(fault.number).lastChild.textContent = faultText(fault);
}

function faultText({ kind, target, seconds, state, healed_after: after }) {
  const named = ["clients", "pubsub"].includes(target) ? `${kind}_${target}` : kind;
  const part = target === "redis" ? t("faults.part.redis") : target;
  const what = t(`faults.did.${named}`, { part, seconds });
  const result = t(`faults.then.${state}`, { after: number(after ?? 0, { maximumFractionDigits: 1 }) });
  // When readers have recovered, only the table shows: the server's part of it is over at once.
  return target === "clients" ? what : `${what} ${result}`;
}

function log(text) {
  return logAt(Date.now(), text);
}

function logAt(at, text) {
  const line = el("li", "", el("time", "", time(at)), el("span", "", text));
  byId("log-lines").prepend(line);
  if (byId("log-lines").children.length > MAX_LINES) byId("log-lines").lastChild.remove();
  return line;
}

function showAudit() {
  byId("readers").tBodies[0].replaceChildren(...readers.map(readerRow));
  const sum = (name) => readers.reduce((all, { figures }) => all + figures[name], 0);
  const [lost, twice, reordered] = FAULTS.map(sum);
  const gaps = readers.reduce((all, reader) => all + reader.gaps, 0);
  const values = { lost, twice, reordered, gaps };
  byId("verdict").textContent = t("faults.verdict", Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, number(value)]),
  ));
  byId("verdict").dataset.clean = lost + twice + reordered === 0;
  const flow = { confirmed: number(confirmed), waiting: number(outbox.messages.length) };
  byId("flow").textContent = t("faults.flow", flow);
}

function readerRow(reader) {
  const { figures, gaps } = reader;
  const state = reader.state === "open" && reader.silence(now()) > SILENT ? "silent" : reader.state;
  const seconds = number(reader.longestWait(now()), { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const row = el(
    "tr", "",
    el("th", { scope: "row" }, transportLabel(reader.transport)),
    el("td", "state", t(`faults.reader.${state}`)),
    figure(t("faults.n_seconds", { n: seconds })),
    el("td", "figure received", number(figures.received)),
    ...FAULTS.map((name) => figure(number(figures[name]), figures[name] > 0)),
    figure(number(gaps)),
  );
  row.dataset.state = state;
  return row;
}

function figure(text, wrong = false) {
  return el("td", wrong ? "figure wrong" : "figure", text);
}

// --- the buttons -----------------------------------------------------------------------------------

async function inject(kind, target) {
  const url = new URL("faults", ROOT);
  url.search = new URLSearchParams({ kind, target, seconds: byId("seconds").value, key });
  try {
    await request(url, { method: "POST" });
  } catch (error) {
    log(explain(error));
  }
}
