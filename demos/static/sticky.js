// Sticky or not, drawn: what nginx would do with each request.  The rules are in sticky/, and here is
// only the picture of them.

import { make } from "./make.js";
import { ROUTINGS } from "./sticky/routing.js";
import { Visits, WAYS } from "./sticky/visits.js";
import { fillFoot, fillHeader } from "./skeleton.js";
import { number, t, translate } from "./words.js";

// As `realtime nginx --workers 3` names them.
const WORKERS = ["127.0.0.1:6001", "127.0.0.1:6002", "127.0.0.1:6003"];
// Of five networks; or all behind the one router of a school.
const PEOPLE = {
  many: ["198.51.100.7", "203.0.113.20", "192.0.2.80", "100.64.9.1", "172.16.4.2"],
  school: Array(5).fill("198.51.100.7"),
};
const PACE = 700; // ms between two requests
const SHOWN = 10;
const SVG = "http://www.w3.org/2000/svg";

const visitorY = (n) => 35 + n * 65;
const workerY = (n) => 65 + n * 100;
const at = (id) => document.getElementById(id);
const chosen = { way: "socketio", routing: "any", people: "many" };
let visits;
let playing;

translate();
fillHeader();
fillFoot();
offer("ways-chosen", "way", WAYS);
offer("routings", "routing", ROUTINGS);
offer("people", "people", Object.keys(PEOPLE));
at("step").addEventListener("click", ask);
at("anew").addEventListener("click", begin);
at("play").addEventListener("click", () => (playing ? pause() : play()));
begin();

// --- what is chosen ------------------------------------------------------------------------------

function offer(id, what, values) {
  for (const value of values) {
    const input = make("input");
    input.type = "radio";
    input.name = what;
    input.value = value;
    input.checked = chosen[what] === value;
    input.addEventListener("change", () => {
      chosen[what] = value;
      begin();
    });
    at(id).append(make("label", "", input, t(`sticky.${what}.${value}`)));
  }
}

function begin() {
  const { way, routing, people } = chosen;
  visits = new Visits({ way, routing, workers: WORKERS, addresses: PEOPLE[people] });
  at("requests").replaceChildren();
  at("why").textContent = t(reason());
  draw();
}

function play() {
  playing = setInterval(ask, PACE);
  at("play").setAttribute("aria-pressed", "true");
  at("play").textContent = t("sticky.pause");
}

function pause() {
  clearInterval(playing);
  playing = undefined;
  at("play").setAttribute("aria-pressed", "false");
  at("play").textContent = t("sticky.play");
}

// --- what happens --------------------------------------------------------------------------------

function ask() {
  const came = visits.next();
  const row = make(
    "tr", "",
    make("td", "", name(came.visitor)),
    make("td", "", make("code", "", came.line === "…" ? t("sticky.frames") : came.line)),
    make("td", "", number(came.worker + 1)),
    make("td", "", came.answer),
  );
  row.dataset.known = came.known ? "yes" : "no";
  at("requests").prepend(row);
  at("requests").rows[SHOWN]?.remove();
  draw(came);
}

function name(visitor) {
  return "ABCDE"[visitor];
}

/** Why this way holds with this routing, or breaks. */
function reason() {
  const { way, routing, people } = chosen;
  if (way === "long_polling") return "sticky.why.cursor";
  if (way === "websocket") return "sticky.why.connection";
  if (routing === "any") return "sticky.why.any";
  if (routing === "session") return `sticky.why.session.${way}`;
  return `sticky.why.address.${people}`;
}

// --- the picture ---------------------------------------------------------------------------------

function draw(came) {
  const { visitors, workers, asked, lost } = visits;
  at("sum").textContent = t("sticky.sum", { asked: number(asked), lost: number(lost) });
  const most = Math.max(1, ...workers.map((worker) => worker.requests));
  at("picture").replaceChildren(
    ...(came ? [wayOf(came)] : []),
    ...visitors.flatMap(drawVisitor),
    shape("rect", { x: 380, y: 120, width: 120, height: 90, rx: 6 }),
    text("nginx", 440, 172, "middle"),
    ...workers.flatMap((worker, n) => drawWorker(worker, n, most)),
  );
}

function wayOf({ visitor, worker, known }) {
  const kind = known ? "now" : "now refused";
  const from = visitorY(visitor);
  const to = workerY(worker);
  const d = `M 200 ${from} C 290 ${from} 290 165 380 165 M 500 165 C 570 165 570 ${to} 640 ${to}`;
  return shape("path", { d, class: kind });
}

function drawVisitor({ address, lost }, n) {
  const y = visitorY(n);
  return [
    shape("rect", { x: 10, y: y - 24, width: 190, height: 48, rx: 6 }),
    text(name(n), 24, y + 6),
    text(address, 52, y + 5, "start", "small"),
    ...(lost ? [text(`✗ ${number(lost)}`, 190, y + 6, "end", "lost")] : []),
  ];
}

function drawWorker({ requests }, n, most) {
  const y = workerY(n);
  return [
    shape("rect", { x: 640, y: y - 36, width: 250, height: 72, rx: 6 }),
    text(t("sticky.worker_n", { n: number(n + 1) }), 656, y - 8),
    text(number(requests), 876, y - 8, "end"),
    shape("rect", { x: 656, y: y + 8, width: (220 * requests) / most, height: 14, class: "load" }),
  ];
}

function text(words, x, y, anchor = "start", kind = "") {
  const element = shape("text", { x, y, "text-anchor": anchor, class: kind });
  element.textContent = words;
  return element;
}

function shape(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
