// A cluster as its master sees it: whom each worker serves, and why one had to be begun again.
// Rooms are called as anybody likes, and a reason is what a program said last: text, never markup.

import { askJSON } from "./ask.js";
import { TRANSPORTS, transportLabel } from "./skeleton.js";
import { choose, language, LANGUAGES, number, t } from "./words.js";

const PAUSE = 1000;
const MOST_ROOMS = 100;

const at = (id) => document.getElementById(id);
const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

for (const [code, itself] of Object.entries(LANGUAGES)) at("language").append(new Option(itself, code));
at("language").value = language;
at("language").addEventListener("change", () => choose(at("language").value));
look();

async function look() {
  try {
    show(await askJSON("/status"));
  } catch (trouble) {
    at("error").textContent = t("cluster.away", { why: trouble.message });
  }
  setTimeout(look, PAUSE);
}

function show({ hub, workers, connections, readers }) {
  const values = {
    ready: number(workers.filter((worker) => worker.state === "ready").length),
    workers: number(workers.length),
    connections: number(sum(connections)),
    rooms: number(Object.keys(readers).length),
    hub: hub.label,
  };
  at("sum").textContent = t("cluster.sum", values);
  at("error").textContent = hub.up ? "" : t("cluster.no_hub");
  fill("workers", workers.map(workerRow));
  const followed = byTransport(Object.values(readers));
  // Ours in their order; then what is no way to read a room: pages, operations, other.
  const known = [...TRANSPORTS, ...Object.keys(connections).filter((one) => !TRANSPORTS.includes(one))];
  const transports = known.filter((one) => connections[one] || followed[one]);
  fill("transports", transports.map((one) => transportRow(one, connections[one] ?? 0, followed[one] ?? 0)));
  const rooms = Object.entries(readers).sort(([, one], [, other]) => sum(other) - sum(one));
  fill("rooms", rooms.slice(0, MOST_ROOMS).map(roomRow));
  const others = rooms.length - MOST_ROOMS;
  at("more").textContent = others > 0 ? t("cluster.more", { others: number(others) }) : "";
}

function byTransport(counts) {
  const all = {};
  for (const one of counts) for (const [name, n] of Object.entries(one)) all[name] = (all[name] ?? 0) + n;
  return all;
}

// --- rows ------------------------------------------------------------------------------------------

function workerRow(worker) {
  const readers = worker.readers && sum(byTransport(Object.values(worker.readers)));
  const name = worker.ours ? worker.worker : `${worker.machine} ${worker.worker}`;
  const row = newRow(
    heading(name),
    cell(t(`cluster.state.${worker.state}`), "state"),
    figure(worker.pid, (pid) => `${pid}`),
    figure(worker.connections && sum(worker.connections)),
    figure(readers),
    ways(worker.connections ?? {}),
    figure(worker.restarts),
    cell(worker.reason, "reason"),
  );
  row.dataset.state = worker.state;
  return row;
}

function transportRow(transport, connections, readers) {
  return newRow(heading(transportLabel(transport)), figure(connections), figure(readers));
}

function roomRow([room, counts]) {
  return newRow(heading(room), figure(sum(counts)), ways(counts));
}

function ways(counts) {
  const by = cell("", "by");
  for (const [transport, count] of Object.entries(counts).sort()) {
    const way = transportLabel(transport);
    way.append(` ${number(count)}`);
    by.append(way);
  }
  return by;
}

function fill(id, rows) {
  at(id).tBodies[0].replaceChildren(...rows);
}

function newRow(...cells) {
  const row = document.createElement("tr");
  row.append(...cells);
  return row;
}

function heading(what) {
  const th = document.createElement("th");
  th.scope = "row";
  th.append(what);
  return th;
}

function cell(text, kind) {
  const td = document.createElement("td");
  td.className = kind;
  td.textContent = text;
  return td;
}

// What is not known is not 0.
function figure(value, write = number) {
  return cell(value === null ? "–" : write(value), "figure");
}
