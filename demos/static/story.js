// The first page: from polling to WebTransport, step by step.  Each step has its lanes, and only they are
// connected.

import { requestJSON, ROOT, roomUrl } from "./api.js";
import { findUsable } from "./available.js";
import { byId, el } from "./dom.js";
import { explain, t } from "./i18n.js";
import { baseFor } from "./lab/ports.js";
import { fillFooter, fillHeader, transportLabel, TRANSPORTS, transportName } from "./page_layout.js";
import { publish, uuid } from "./publish.js";
import { Demux } from "./story/demux.js";
import { Lane } from "./story/lane.js";
import { bytes, duration } from "./wire/labels.js";
import { openTap } from "./wire/tap.js";

const MAX_SENDERS = 2;
const query = new URLSearchParams(location.search);
// A room for this visit, unless the URL names one: forty students would fill each other's lanes.
const room = query.get("room") || `story-${uuid().slice(0, 8)}`;

// {hash, name, transports}
const STEPS = [
  { hash: "", name: t("story.start.name"), transports: ["short_polling", "websocket"] },
  ...TRANSPORTS.map((transport) => (
    { hash: transport.replaceAll("_", "-"), name: transportName(transport), transports: [transport] }
  )),
  { hash: "all-together", name: t("story.all.heading"), transports: TRANSPORTS },
  { hash: "which-one", name: t("story.which.heading"), transports: [] },
];

fillHeader();
fillFooter();

const live = byId("live");
const demux = new Demux();
const sentAt = new Map(); // id of our message: performance.now()
const delays = new Map(); // transport: the delay of our latest message
let current;
let lanes = [];
let paused = false;
let captured = false; // whether the tap is open
const tapping = openTap();

// --- the steps -----------------------------------------------------------------------------------

function stepOfHash() {
  const hash = location.hash.slice(1);
  return STEPS.find((step) => step.hash === hash) ?? STEPS[0];
}

async function show(step) {
  if (step === current) return;
  current = step;
  closeLanes();
  const section = document.querySelector(`.step[data-step="${step.hash}"]`);
  document.querySelector(".step[data-current]").removeAttribute("data-current");
  section.dataset.current = "";
  showNavigation(STEPS.indexOf(step));
  scrollTo(0, 0);
  live.hidden = !step.transports.length;
  if (live.hidden) return;
  section.querySelector(".slot").append(live);
  live.classList.toggle("compact", isCompact(step));
  await openLanes(step);
}

// Many lanes share one line of headings, which says "per message".
function isCompact({ transports }) {
  return transports.length > 2;
}

function showNavigation(index) {
  const [previous, next] = [STEPS[index - 1], STEPS[index + 1]];
  follow(byId("back"), previous, t("story.back"));
  if (next) follow(byId("next"), next, t("story.next", { name: next.name }));
  else follow(byId("next"), undefined, t("story.lab"), `../demos/lab.html${location.search}`);
  for (const [n, link] of [...byId("dots").children].entries()) {
    if (n === index) link.setAttribute("aria-current", "step");
    else link.removeAttribute("aria-current");
  }
  byId("where").textContent = stepText(index);
}

function follow(link, step, text, href = step && `#${step.hash}`) {
  link.textContent = text;
  if (href) link.href = href;
  else link.removeAttribute("href");
}

function stepText(index) {
  return t("story.step", { step: index + 1, all: STEPS.length, name: STEPS[index].name });
}

function fillDots() {
  byId("dots").append(...STEPS.map(({ hash }, index) => {
    const link = el("a", { href: `#${hash}`, title: stepText(index) });
    link.setAttribute("aria-label", stepText(index));
    return link;
  }));
}

// --- the lanes -----------------------------------------------------------------------------------

function closeLanes() {
  for (const lane of lanes) {
    demux.remove(lane.client);
    lane.close();
  }
  lanes = [];
  sentAt.clear();
  byId("said").textContent = "";
  showState();
}

async function openLanes(step) {
  const { usable, missing } = await findUsable(step.transports);
  if (step !== current || lanes.length) return; // the user is already at another step
  showLeftOut(usable, missing);
  const options = {
    room, showsIdle: !isCompact(step), isCaptured: () => captured, delayOf, onShown: showVerdict, onState: showState,
  };
  lanes = usable.map((transport) => new Lane(transport, options));
  byId("lanes").append(...lanes.map(({ element }) => element));
  for (const lane of lanes) {
    demux.add(lane.client, (record) => lane.feed(record), { quic: lane.transport === "webtransport" });
  }
  pause(false);
  showState();
  const opening = lanes;
  const [tap, cursor, ports] = await Promise.all([tapping, fetchCursor(), fetchPorts()]);
  if (opening !== lanes) return; // the user is already at another step
  for (const lane of lanes) lane.open(cursor, tap.secret, baseFor(lane.transport, ports));
}

// Where a browser or server lacks a transport, its lane is replaced by the reason.
function showLeftOut(usable, missing) {
  live.toggleAttribute("data-empty", !usable.length);
  byId("left-out").hidden = !missing.length;
  byId("left-out").replaceChildren(...missing.map(({ transport, why }) => (
    el("span", "", transportLabel(transport), " – ", why)
  )));
}

// All lanes start at the same cursor, without the room's history.
async function fetchCursor() {
  try {
    return (await requestJSON(roomUrl(room, "short_polling", { after: "now" }))).cursor;
  } catch {
    return "now";
  }
}

// The server's ports: a browser opens only six connections to each.
let ports;
async function fetchPorts() {
  try {
    ports ??= (await requestJSON(new URL("lab", ROOT))).lanes;
  } catch {
    return [];
  }
  return ports;
}

// Of our own messages by this page's clock; of others from the broker's clock to ours.
function delayOf({ id, published }) {
  const sent = sentAt.get(id);
  return Math.max(0, sent === undefined ? Date.now() - published : performance.now() - sent);
}

function showState() {
  byId("send").disabled = !lanes.some(({ state }) => state === "open");
}

// --- sending -------------------------------------------------------------------------------------

byId("say").addEventListener("submit", (submit) => {
  submit.preventDefault();
  pause(false);
  const message = { id: uuid(), text: byId("text").value, sent: Date.now() };
  sentAt.set(message.id, performance.now());
  delays.clear();
  byId("said").textContent = "";
  send(message).catch((error) => {
    byId("said").textContent = t("story.not_sent", { why: explain(error) });
  });
});

// Each lane sends by its own transport, with the same id: the room has the message once, and all lanes show
// it.  With all lanes it is published once: five requests at a time would wait for a free connection, and
// arrive after the message that they bring.
function send(message) {
  if (lanes.length > MAX_SENDERS) {
    lanes.forEach((lane) => lane.expectMessage());
    return publish(room, message);
  }
  return Promise.all(lanes.filter(({ state }) => state === "open").map((lane) => lane.send(message)));
}

// The opening compares its two lanes when both have shown our message.
function showVerdict({ transport }, id, delay) {
  if (current !== STEPS[0] || id !== [...sentAt.keys()].at(-1)) return;
  delays.set(transport, delay);
  if (delays.size < lanes.length) return;
  const [slow, fast] = lanes.map((lane) => duration(delays.get(lane.transport)));
  byId("said").textContent = t("story.verdict", { slow, fast, wasted: bytes(lanes[0].wastedBytes) });
}

function pause(wanted) {
  paused = wanted;
  lanes.forEach((lane) => lane.pause(paused));
  byId("pause").setAttribute("aria-pressed", paused);
  byId("pause").textContent = t(paused ? "story.resume" : "story.pause");
}
byId("pause").addEventListener("click", () => pause(!paused));

// --- the keyboard, and opening and closing the page ------------------------------------------------

addEventListener("keydown", (press) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[press.key];
  const modified = press.altKey || press.ctrlKey || press.metaKey || press.shiftKey;
  if (!step || modified || press.target.matches("input, select")) return;
  const next = STEPS[STEPS.indexOf(stepOfHash()) + step];
  if (next) location.hash = next.hash;
});

addEventListener("hashchange", () => show(stepOfHash()));
addEventListener("pagehide", closeLanes);
addEventListener("pageshow", ({ persisted }) => { if (persisted) openLanes(current); });

byId("text").value = t("story.hello");
fillDots();
for (const link of document.querySelectorAll("main a[href^='../demos/']")) link.search = location.search;
show(stepOfHash());

const tap = await tapping;
tap.on((record) => {
  demux.feed(record);
  captured = record.open ?? captured;
  byId("no-capture").hidden = captured;
});
