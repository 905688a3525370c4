// The room in figures that can be read from the last row.  This page polls once a second without a name,
// so it is not a member of the room and is not counted.

import { requestJSON, ROOT, roomUrl } from "../api.js";
import { byId, el } from "../dom.js";
import { number, t } from "../i18n.js";
import { transportLabel, TRANSPORTS } from "../page_layout.js";

const INTERVAL = 1000; // ms between two polls
const RATE_WINDOW = 5; // seconds over which the message rate is averaged
const MAX_PAGES = 4; // of the list of members: more than a lecture hall
const TIMEOUT = 10_000;
const COLUMNS = ["members", "open", "requests", "bytes", "each"];

export class RoomStats {
  #room;
  #cursor = "now";
  #messages = 0;
  #times = []; // when each of the latest messages arrived, in s
  #rows = new Map();
  #polling = false;

  constructor(room) {
    this.#room = room;
    byId("figures-room").textContent = room;
    for (const transport of TRANSPORTS) this.#rows.set(transport, newRow(transport));
    byId("ways-now").tBodies[0].append(...[...this.#rows.values()].map(({ row }) => row));
  }

  start() {
    // A hidden page does not poll; when it becomes visible, it polls at once.
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.#poll(); });
    setInterval(() => this.#poll(), INTERVAL);
    this.#poll();
  }

  async #poll() {
    if (document.hidden || this.#polling) return;
    this.#polling = true;
    try {
      await this.#readEvents();
      this.#show(await this.#readCounts());
      byId("trouble").textContent = "";
    } catch (error) {
      byId("trouble").textContent = error.message;
    } finally {
      this.#polling = false;
    }
  }

  async #readEvents() {
    for (let more = true; more;) {
      const response = await this.#get(roomUrl(this.#room, "short_polling", { after: this.#cursor }));
      this.#cursor = response.cursor;
      response.events.forEach((event) => this.#count(event));
      ({ more } = response);
    }
  }

  #count({ kind }) {
    if (kind !== "say") return;
    this.#messages += 1;
    this.#times.push(performance.now() / 1000);
  }

  async #readCounts() {
    const [counted, { transports }] = await Promise.all([
      this.#readMembers(),
      this.#get(new URL("wire", ROOT)),
    ]);
    return { ...counted, transports };
  }

  // The list comes in pages; the transports of the first ones are counted, and all members.
  async #readMembers() {
    const members = [];
    let after, total;
    for (let page = 0; page < MAX_PAGES && (page === 0 || after); page++) {
      const answer = await this.#get(roomUrl(this.#room, "members", { after }));
      members.push(...answer.members);
      after = answer.next;
      total ??= answer.total;
    }
    return { members, total: total ?? members.length };
  }

  #get(url) {
    return requestJSON(url, { signal: AbortSignal.timeout(TIMEOUT) });
  }

  #show({ members, total, transports }) {
    const since = performance.now() / 1000 - RATE_WINDOW;
    this.#times = this.#times.filter((time) => time > since);
    byId("here").textContent = number(total);
    byId("rate").textContent = number(this.#times.length / RATE_WINDOW, { maximumFractionDigits: 1 });
    byId("heard").textContent = number(this.#messages);
    for (const [transport, { cells }] of this.#rows) {
      const count = members.filter(({ via }) => via === transport).length;
      fill(cells, count, transports[transport]);
    }
  }
}

function newRow(transport) {
  const name = el("th", { scope: "row" }, transportLabel(transport));
  const cells = COLUMNS.map((column) => el("td", column));
  const row = el("tr", "", name, ...cells);
  row.dataset.via = transport;
  return { row, cells };
}

function fill(cells, members, { open = 0, requests = 0, events = 0, bytes_in: up = 0, bytes_out: down = 0 } = {}) {
  const each = events ? size((up + down) / events) : "–";
  const texts = [number(members), number(open), number(requests), size(up + down), each];
  cells.forEach((cell, n) => { cell.textContent = texts[n]; });
}

function size(bytes) {
  const [unit, divisor] = bytes < 10_000 ? ["b", 1] : bytes < 1e7 ? ["kb", 1e3] : ["mb", 1e6];
  return t(`lecturer.${unit}`, { size: number(bytes / divisor, { maximumFractionDigits: 0 }) });
}
