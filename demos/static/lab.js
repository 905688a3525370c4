// The lab: all transports side by side in one room, with one text field, as one client of the server.
// This file connects the parts; each of them is in lab/.

import { requestJSON, ROOT, roomUrl, withSecret } from "./api.js";
import { findUsable } from "./available.js";
import { byId, el } from "./dom.js";
import { showExercises } from "./exercises.js";
import { explain, number, t, translate } from "./i18n.js";
import { newClient, secretOf } from "./identity.js";
import { ConsistencyChecker } from "./lab/audit.js";
import { stripLabels } from "./lab/delay_strip.js";
import { LatencyChart } from "./lab/latency_chart.js";
import { OpenLoopSender } from "./lab/open_loop_sender.js";
import { Pane } from "./lab/pane.js";
import {
  baseFor, connectionsUsed, exhaustConnections, MAX_CONNECTIONS, openWebSockets, overHTTP2,
} from "./lab/ports.js";
import { networkControl } from "./networks.js";
import { fillFooter, fillHeader, transportLabel, TRANSPORTS } from "./page_layout.js";
import { chooseName, rememberName } from "./tab_state.js";

const DRAW_INTERVAL = 250; // ms: faster than people can read numbers
const TRAFFIC_INTERVAL = 1000; // ms between two requests for the byte counts
const TRAFFIC_TIMEOUT = 10_000;
// The choices of the schedule, and those chosen at first.
const RATES = [1, 2, 5, 10, 20, 50, 100, 200];
const COUNTS = [10, 50, 200, 1000, 10_000];
const SIZES = [10, 100, 1000, 4000];
const [FIRST_RATE, FIRST_COUNT, FIRST_SIZE] = [10, 50, 100];

const query = new URLSearchParams(location.search);
const room = query.get("room") || "lobby";
const name = chooseName(query.get("name"));
const client = newClient();

translate();
fillHeader();
fillFooter();
byId("room").value = room;
byId("name").value = name;

const checker = new ConsistencyChecker();
const sender = new OpenLoopSender(room, { client, name }, (id) => checker.acknowledge(id));
const panes = [];
let network; // the base URL of simulated network conditions, if any

// --- events --------------------------------------------------------------------------------------

const now = () => performance.now() / 1000;

// The broker's clock, where the message is not ours, and this machine's.
function sentAt(event) {
  return sender.scheduledAt(event.id) ?? event.published - performance.timeOrigin;
}

function delayOf(event) {
  if (event.kind !== "say") return undefined;
  const delay = performance.now() - sentAt(event);
  // Messages from before this page have no delay.
  return sentAt(event) >= 0 && delay >= 0 ? delay : undefined;
}

function onEvent(event, pane, delay) {
  if (event.kind === "gap") checker.reset();
  if (delay !== undefined) chart.add(event.id, pane.transport, sentAt(event) / 1000, delay);
}

// --- the panes -----------------------------------------------------------------------------------

const setting = (id) => byId(id)?.value ?? 0;
const lab = { room, client, name, setting, checker, now, delayOf, onEvent, drawSoon };

async function createPane(transport) {
  const { connect } = await import(`./transports/${transport}.js`);
  const pane = new Pane(transport, connect, lab);
  pane.on.addEventListener("change", () => switchPane(pane));
  return pane;
}

function baseOf(pane) {
  return network ?? baseFor(pane.transport, serverInfo.lanes);
}

function switchPane(pane) {
  if (pane.on.checked) pane.start(baseOf(pane), checker.cursor ?? startCursor);
  else pane.stop();
  showConnections();
}

// How many connections to the page's own port this tab occupies.
function used() {
  const on = panes.filter((pane) => pane.on.checked).map((pane) => pane.transport);
  return network ? 0 : connectionsUsed(on, serverInfo.lanes);
}

function showConnections() {
  const ports = serverInfo.lanes.length;
  const ofOnePort = overHTTP2()
    ? t("lab.h2_page")
    : t("lab.no_lanes", { kept: used(), six: MAX_CONNECTIONS });
  byId("connections").textContent = ports > 1 ? t("lab.lanes", { lanes: ports }) : ofOnePort;
}

async function fetchServerInfo() {
  try {
    return await requestJSON(new URL("lab", ROOT));
  } catch {
    return { lanes: [], networks: 0, messages_per_second: 20 };
  }
}

// All panes start at the same cursor, so that all must show the same events.
async function fetchCursor() {
  try {
    return (await requestJSON(roomUrl(room, "short_polling", { after: "now" }))).cursor;
  } catch {
    return "now";
  }
}

// What this browser or this server lacks has no row, but a reason.
function leftOut({ transport, why }) {
  return el("p", "left-out", transportLabel(transport), " – ", why);
}

const [serverInfo, startCursor, { usable, missing }] = await Promise.all([
  fetchServerInfo(), fetchCursor(), findUsable(TRANSPORTS),
]);
const chart = new LatencyChart(byId("chart"), usable);
panes.push(...(await Promise.all(usable.map(createPane))));
document.querySelector(".col-strip").append(...stripLabels());
byId("panes").append(...panes.map((pane) => pane.element), ...missing.map(leftOut));
panes.forEach(switchPane);

const onNetwork = (base) => {
  network = base;
  panes.forEach((pane) => pane.move(baseOf(pane)));
  showConnections();
};
networkControl(byId("network"), onNetwork, byId("hints"));

byId("interval").addEventListener("change", () => {
  const pane = panes.find(({ transport }) => transport === "short_polling");
  pane.move(baseOf(pane));
});

// --- sending -------------------------------------------------------------------------------------

byId("say").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  const text = byId("text").value;
  byId("text").value = "";
  // A refused text returns to the field, unless the user is already writing another.
  if (!(await sender.send(text))) byId("text").value ||= text;
});

byId("load").addEventListener("submit", (submit) => {
  submit.preventDefault();
  if (sender.remaining) return sender.stop();
  const [count, rate, size] = ["count", "rate", "size"].map((id) => Number(byId(id).value));
  sender.start({ count, rate, size });
});

function fillChoices() {
  // A higher rate than the server accepts from one client would measure its limit, not the transports.
  const limit = serverInfo.messages_per_second || Infinity;
  const rates = RATES.filter((rate) => rate <= limit);
  choices("count", COUNTS, FIRST_COUNT, (count) => t("lab.messages", { count: number(count) }));
  choices("rate", rates, Math.min(FIRST_RATE, rates.at(-1)), (rate) => t("lab.per_second", { rate }));
  choices("size", SIZES, FIRST_SIZE, (size) => t("lab.characters", { size: number(size) }));
}

function choices(id, values, first, text) {
  byId(id).append(...values.map((value) => new Option(text(value), value, value === first, value === first)));
}
fillChoices();

byId("clear").addEventListener("click", () => {
  panes.forEach((pane) => pane.clear());
  chart.clear();
});

function showSender() {
  const { remaining, sent, refused, error } = sender;
  byId("send-many").textContent = remaining ? t("lab.stop") : t("lab.send_many");
  const progress = sent || remaining
    ? t("lab.sent", { sent: number(sent), left: number(remaining) })
    : "";
  const refusals = refused ? t("lab.refused", { refused, why: explain(error) }) : "";
  const line = [progress, refusals].filter(Boolean).join(" · ");
  if (byId("sent").textContent === line) return;
  byId("sent").textContent = line;
  byId("sent").dataset.wrong = refused > 0;
}

// --- drawing and byte counts -----------------------------------------------------------------------

function draw() {
  if (document.hidden) return;
  panes.forEach((pane) => pane.draw());
  // After all texts: a canvas reads its style, and after each change that would be computed again.
  panes.forEach((pane) => pane.drawStrip());
  chart.draw();
  showSender();
}

const waiting = new Set(); // panes to draw in the next frame

// A single message is visible in the frame after it arrives, so the rows change in the order of arrival.
function drawSoon(pane) {
  if (!waiting.size) requestAnimationFrame(drawWaiting);
  waiting.add(pane);
}

function drawWaiting() {
  waiting.forEach((pane) => pane.draw());
  waiting.clear();
}

let fetchingTraffic = false;

async function fetchTraffic() {
  if (document.hidden || fetchingTraffic) return;
  fetchingTraffic = true;
  try {
    const url = new URL("wire", ROOT);
    url.search = new URLSearchParams(withSecret({ client }));
    const { transports } = await requestJSON(url, { signal: AbortSignal.timeout(TRAFFIC_TIMEOUT) });
    panes.forEach((pane) => pane.setTraffic(transports[pane.transport]));
  } catch {
    // The panes show the error; their figures stay as they were.
  } finally {
    fetchingTraffic = false;
  }
}

setInterval(draw, DRAW_INTERVAL);
setInterval(fetchTraffic, TRAFFIC_INTERVAL);

// --- the lesson about six connections ------------------------------------------------------------

byId("starve").addEventListener("click", async () => {
  byId("starve").disabled = true;
  await exhaustConnections(room, used(), (step, values) => {
    byId("starving").textContent = t(`lab.starve.${step}`, values);
  });
  byId("starve").disabled = false;
});

const SOCKETS = 12;
let sockets = [];

byId("sockets").addEventListener("click", () => {
  sockets.forEach((socket) => socket.close());
  sockets = sockets.length ? [] : openWebSockets(room, SOCKETS);
  for (const socket of sockets) socket.onopen = socket.onclose = showSockets;
  showSockets();
});

function showSockets() {
  const open = sockets.filter(({ readyState }) => readyState === WebSocket.OPEN).length;
  byId("sockets").textContent = sockets.length ? t("lab.sockets_close") : t("lab.sockets");
  byId("sockets-open").textContent = sockets.length
    ? t("lab.sockets_open", { open, count: SOCKETS })
    : "";
}

// --- opening and closing the page ----------------------------------------------------------------

byId("who").addEventListener("submit", (submit) => {
  submit.preventDefault();
  rememberName(byId("name").value);
  location.search = new URLSearchParams({ room: byId("room").value });
});

addEventListener("pagehide", () => {
  sender.stop();
  panes.forEach((pane) => pane.stop());
  const url = roomUrl(room, `members/${client}`, { secret: secretOf(client) });
  fetch(url, { method: "DELETE", keepalive: true }).catch(() => {});
});
addEventListener("pageshow", ({ persisted }) => { if (persisted) panes.forEach(switchPane); });

for (const link of document.querySelectorAll("a.page")) {
  link.search = new URLSearchParams({ room });
}
showExercises(byId("exercises"), "lab");
