// The cluster page: which clients each worker serves, and why a worker was restarted.
// Users choose the names of rooms, and a reason is the last output of a program: text, never markup.

import { requestJSON, ROOT } from "./api.js";
import { byId, el } from "./dom.js";
import { choose, explain, language, LANGUAGES, number, t } from "./i18n.js";
import { fillHeader, transportLabel, TRANSPORTS } from "./page_layout.js";

const INTERVAL = 1000;
const MAX_ROOMS = 100;

const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

// The master serves this page at "/" and its data at /status.  Other servers have the page among the demos,
// and no data for it.
if (location.pathname.endsWith("/demos/cluster.html")) showElsewhere();
else showCluster();

function showCluster() {
  for (const [code, name] of Object.entries(LANGUAGES)) byId("language").append(new Option(name, code));
  byId("language").value = language;
  byId("language").addEventListener("change", () => choose(byId("language").value));
  refresh();
}

function showElsewhere() {
  fillHeader();
  byId("cluster").hidden = true;
  byId("elsewhere").hidden = false;
}

async function refresh() {
  try {
    show(await requestJSON(new URL("status", ROOT)));
  } catch (error) {
    byId("error").textContent = t("cluster.away", { why: explain(error) });
  }
  setTimeout(refresh, INTERVAL);
}

function show({ hub, workers, connections, readers, fault_controls: faults }) {
  byId("faults").hidden = !faults;
  const values = {
    ready: number(workers.filter((worker) => worker.state === "ready").length),
    workers: number(workers.length),
    connections: number(sum(connections)),
    rooms: number(Object.keys(readers).length),
    hub: hub.label,
  };
  byId("sum").textContent = t("cluster.sum", values);
  byId("error").textContent = hub.up ? "" : t("cluster.no_hub");
  fill("workers", workers.map(workerRow));
  const followed = byTransport(Object.values(readers));
  // The transports in their order, then the other handlers: pages, operations, other.
  const known = [...TRANSPORTS, ...Object.keys(connections).filter((one) => !TRANSPORTS.includes(one))];
  const transports = known.filter((one) => connections[one] || followed[one]);
  fill("transports", transports.map((one) => transportRow(one, connections[one] ?? 0, followed[one] ?? 0)));
  const rooms = Object.entries(readers).sort(([, one], [, other]) => sum(other) - sum(one));
  fill("rooms", rooms.slice(0, MAX_ROOMS).map(roomRow));
  const others = rooms.length - MAX_ROOMS;
  byId("more").textContent = others > 0 ? t("cluster.more", { others: number(others) }) : "";
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
  const row = el(
    "tr", "",
    heading(name),
    cell(t(`cluster.state.${worker.state}`), "state"),
    figure(worker.pid, (pid) => `${pid}`),
    figure(worker.connections && sum(worker.connections)),
    figure(readers),
    perTransport(worker.connections ?? {}),
    figure(worker.restarts),
    cell(worker.reason, "reason"),
  );
  row.dataset.state = worker.state;
  return row;
}

function transportRow(transport, connections, readers) {
  return el("tr", "", heading(transportLabel(transport)), figure(connections), figure(readers));
}

function roomRow([room, counts]) {
  return el("tr", "", heading(room), figure(sum(counts)), perTransport(counts));
}

function perTransport(counts) {
  const labels = Object.entries(counts).sort().map(([transport, count]) => {
    const label = transportLabel(transport);
    label.append(` ${number(count)}`);
    return label;
  });
  return el("td", "by", ...labels);
}

function fill(id, rows) {
  byId(id).tBodies[0].replaceChildren(...rows);
}

function heading(content) {
  return el("th", { scope: "row" }, content);
}

function cell(text, className) {
  return el("td", className, text ?? "");
}

// An unknown count is not 0.
function figure(value, format = number) {
  return cell(value === null ? "–" : format(value), "figure");
}
