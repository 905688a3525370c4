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
// The columns of the drawing, as [x, width]: a phone shows all three, with text of the same size.
const WIDE = { width: 900, clients: [10, 190], nginx: [380, 120], workers: [640, 250], inset: 14, address: 42 };
const NARROW = { width: 356, clients: [1, 146], nginx: [170, 48], workers: [242, 113], inset: 7, address: 22 };
const narrow = matchMedia("(width < 56rem)");
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
narrow.addEventListener("change", () => draw());
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
  const layout = narrow.matches ? NARROW : WIDE;
  const [x, width] = layout.nginx;
  byId("picture").setAttribute("viewBox", `0 0 ${layout.width} 260`);
  byId("picture").replaceChildren(
    ...(request ? [drawPath(request, layout)] : []),
    ...clients.flatMap((client, n) => drawClient(client, n, layout)),
    svgEl("rect", { x, y: NGINX_Y - 45, width, height: 90, rx: 6 }),
    drawText("nginx", x + width / 2, NGINX_Y + 6, "middle"),
    ...workers.flatMap((worker, n) => drawWorker(worker, n, most, layout)),
  );
}

function drawPath({ client, worker, known }, { clients, nginx, workers }) {
  const way = (x, y, toX, toY) => `M ${x} ${y} C ${(x + toX) / 2} ${y} ${(x + toX) / 2} ${toY} ${toX} ${toY}`;
  const there = way(clients[0] + clients[1], clientY(client), nginx[0], NGINX_Y);
  const onwards = way(nginx[0] + nginx[1], NGINX_Y, workers[0], workerY(worker));
  return svgEl("path", { d: `${there} ${onwards}`, class: known ? "now" : "now refused" });
}

function drawClient({ address, lost }, n, { clients: [x, width], inset, address: indent }) {
  const y = clientY(n);
  return [
    svgEl("rect", { x, y: y - 22, width, height: 44, rx: 6 }),
    drawText(nameOf(n), x + inset, y + 6),
    drawText(address, x + indent, y + 5, "start", "small"),
    ...(lost ? [drawText(`✗${number(lost)}`, x + width - 4, y + 6, "end", "lost")] : []),
  ];
}

function drawWorker({ requests }, n, most, { workers: [x, width], inset }) {
  const y = workerY(n);
  const full = width - 2 * inset;
  return [
    svgEl("rect", { x, y: y - 36, width, height: 72, rx: 6 }),
    drawText(t("sticky.worker_n", { n: number(n + 1) }), x + inset, y - 8),
    drawText(number(requests), x + width - inset, y - 8, "end"),
    svgEl("rect", { x: x + inset, y: y + 8, width: (full * requests) / most, height: 14, class: "load" }),
  ];
}

function drawText(text, x, y, anchor = "start", className = "") {
  return svgEl("text", { x, y, "text-anchor": anchor, class: className }, text);
}
