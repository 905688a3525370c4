// Sticky routing, drawn: what nginx would do with each request.  sticky/ has the rules, this file draws
// them.

import { byId, el, svgEl } from "./dom.js";
import { number, t, translate } from "./i18n.js";
import { fillFooter, fillHeader } from "./page_layout.js";
import { ROUTINGS } from "./sticky/routing.js";
import { Simulation, TRANSPORTS } from "./sticky/simulation.js";

// As `realtime nginx --workers 3` names them.
const WORKERS = ["127.0.0.1:6001", "127.0.0.1:6002", "127.0.0.1:6003"];
// Clients in five networks; or all behind the one router of a school.
const ADDRESSES = {
  many: ["198.51.100.7", "203.0.113.20", "192.0.2.80", "100.64.9.1", "172.16.4.2"],
  school: Array(5).fill("198.51.100.7"),
};
const INTERVAL = 700; // ms between two requests
const MAX_ROWS = 10;

const clientY = (n) => 26 + n * 52;
const workerY = (n) => 46 + n * 84;
const NGINX_Y = 130;
const chosen = { way: "socketio", routing: "any", people: "many" };
let simulation;
let timer;

translate();
fillHeader();
fillFooter();
addChoices("ways-chosen", "way", TRANSPORTS);
addChoices("routings", "routing", ROUTINGS);
addChoices("people", "people", Object.keys(ADDRESSES));
byId("step").addEventListener("click", step);
byId("reset").addEventListener("click", reset);
byId("play").addEventListener("click", () => (timer ? pause() : play()));
reset();

// --- the controls --------------------------------------------------------------------------------

function addChoices(id, name, values) {
  for (const value of values) {
    const input = el("input", { type: "radio", name, value, checked: chosen[name] === value });
    input.addEventListener("change", () => {
      chosen[name] = value;
      reset();
    });
    byId(id).append(el("label", "", input, t(`sticky.${name}.${value}`)));
  }
}

function reset() {
  const { way: transport, routing, people } = chosen;
  simulation = new Simulation({ transport, routing, workers: WORKERS, addresses: ADDRESSES[people] });
  byId("requests").replaceChildren();
  byId("why").textContent = t(explanation());
  draw();
}

function play() {
  timer = setInterval(step, INTERVAL);
  byId("play").setAttribute("aria-pressed", "true");
  byId("play").textContent = t("sticky.pause");
}

function pause() {
  clearInterval(timer);
  timer = undefined;
  byId("play").setAttribute("aria-pressed", "false");
  byId("play").textContent = t("sticky.play");
}

// --- one request ---------------------------------------------------------------------------------

function step() {
  const request = simulation.next();
  const row = el(
    "tr", "",
    el("td", "", nameOf(request.client)),
    el("td", "", el("code", "", request.line === "…" ? t("sticky.frames") : request.line)),
    el("td", "", number(request.worker + 1)),
    el("td", "", request.status),
  );
  row.dataset.known = request.known ? "yes" : "no";
  byId("requests").prepend(row);
  byId("requests").rows[MAX_ROWS]?.remove();
  draw(request);
}

function nameOf(client) {
  return "ABCDE"[client];
}

/** The key of the text that says why this transport works with this routing, or does not. */
function explanation() {
  const { way, routing, people } = chosen;
  if (way === "long_polling") return "sticky.why.cursor";
  if (way === "websocket") return "sticky.why.connection";
  if (routing === "any") return "sticky.why.any";
  if (routing === "session") return `sticky.why.session.${way}`;
  return `sticky.why.address.${people}`;
}

// --- the picture ---------------------------------------------------------------------------------

function draw(request) {
  const { clients, workers, requests, lostSessions } = simulation;
  byId("sum").textContent = t("sticky.sum", { asked: number(requests), lost: number(lostSessions) });
  const most = Math.max(1, ...workers.map((worker) => worker.requests));
  byId("picture").replaceChildren(
    ...(request ? [drawPath(request)] : []),
    ...clients.flatMap(drawClient),
    svgEl("rect", { x: 380, y: NGINX_Y - 45, width: 120, height: 90, rx: 6 }),
    drawText("nginx", 440, NGINX_Y + 6, "middle"),
    ...workers.flatMap((worker, n) => drawWorker(worker, n, most)),
  );
}

function drawPath({ client, worker, known }) {
  const from = clientY(client);
  const to = workerY(worker);
  const [left, right] = [`C 290 ${from} 290 ${NGINX_Y} 380 ${NGINX_Y}`, `C 570 ${NGINX_Y} 570 ${to} 640 ${to}`];
  const d = `M 200 ${from} ${left} M 500 ${NGINX_Y} ${right}`;
  return svgEl("path", { d, class: known ? "now" : "now refused" });
}

function drawClient({ address, lost }, n) {
  const y = clientY(n);
  return [
    svgEl("rect", { x: 10, y: y - 22, width: 190, height: 44, rx: 6 }),
    drawText(nameOf(n), 24, y + 6),
    drawText(address, 52, y + 5, "start", "small"),
    ...(lost ? [drawText(`✗ ${number(lost)}`, 190, y + 6, "end", "lost")] : []),
  ];
}

function drawWorker({ requests }, n, most) {
  const y = workerY(n);
  return [
    svgEl("rect", { x: 640, y: y - 36, width: 250, height: 72, rx: 6 }),
    drawText(t("sticky.worker_n", { n: number(n + 1) }), 656, y - 8),
    drawText(number(requests), 876, y - 8, "end"),
    svgEl("rect", { x: 656, y: y + 8, width: (220 * requests) / most, height: 14, class: "load" }),
  ];
}

function drawText(text, x, y, anchor = "start", className = "") {
  return svgEl("text", { x, y, "text-anchor": anchor, class: className }, text);
}
