// The room in figures for the last row.  This page asks as a short poll does, once a second, and
// without a name: so it is no member, and not counted as one.

import { address, askJSON } from "../ask.js";
import { transportLabel, TRANSPORTS } from "../skeleton.js";
import { number, t } from "../words.js";

const PAUSE = 1000; // ms between two questions
const SPAN = 5; // seconds over which messages are counted
const PATIENCE = 10_000;

const at = (id) => document.getElementById(id);

export class Figures {
  #room;
  #cursor = "now";
  #heard = 0;
  #times = []; // when each of the last messages was heard, in s
  #rows = new Map();

  constructor(room) {
    this.#room = room;
    at("figures-room").textContent = room;
    for (const way of TRANSPORTS) this.#rows.set(way, row(way));
    at("ways-now").tBodies[0].append(...[...this.#rows.values()].map(({ line }) => line));
  }

  begin() {
    // A hidden page asks nothing; shown again, it looks at once.
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.#turn(); });
    setInterval(() => this.#turn(), PAUSE);
    this.#turn();
  }

  #asking = false;

  async #turn() {
    if (document.hidden || this.#asking) return;
    this.#asking = true;
    try {
      await this.#listen();
      this.#show(await this.#count());
      at("trouble").textContent = "";
    } catch (trouble) {
      at("trouble").textContent = trouble.message;
    } finally {
      this.#asking = false;
    }
  }

  async #listen() {
    for (let more = true; more;) {
      const answer = await this.#ask(address(this.#room, "short_polling", { after: this.#cursor }));
      this.#cursor = answer.cursor;
      answer.events.forEach((event) => this.#hear(event));
      ({ more } = answer);
    }
  }

  #hear({ kind }) {
    if (kind !== "say") return;
    this.#heard += 1;
    this.#times.push(performance.now() / 1000);
  }

  async #count() {
    const [{ members }, { transports }] = await Promise.all([
      this.#ask(address(this.#room, "members")),
      this.#ask(new URL("/wire", location)),
    ]);
    return { members, transports };
  }

  #ask(url) {
    return askJSON(url, { signal: AbortSignal.timeout(PATIENCE) });
  }

  #show({ members, transports }) {
    const since = performance.now() / 1000 - SPAN;
    this.#times = this.#times.filter((time) => time > since);
    at("here").textContent = number(members.length);
    at("rate").textContent = number(this.#times.length / SPAN, { maximumFractionDigits: 1 });
    at("heard").textContent = number(this.#heard);
    for (const [way, { cells }] of this.#rows) {
      const here = members.filter(({ via }) => via === way).length;
      fill(cells, here, transports[way]);
    }
  }
}

function row(way) {
  const line = document.createElement("tr");
  line.dataset.via = way;
  const name = document.createElement("th");
  name.scope = "row";
  name.append(transportLabel(way));
  const cells = ["members", "open", "requests", "bytes", "each"].map((what) => {
    const cell = document.createElement("td");
    cell.className = what;
    return cell;
  });
  line.append(name, ...cells);
  return { line, cells };
}

function fill(cells, here, { open = 0, requests = 0, events = 0, bytes_in: up = 0, bytes_out: down = 0 } = {}) {
  const each = events ? size((up + down) / events) : "–";
  const texts = [number(here), number(open), number(requests), size(up + down), each];
  cells.forEach((cell, n) => { cell.textContent = texts[n]; });
}

function size(bytes) {
  const [unit, by] = bytes < 10_000 ? ["b", 1] : bytes < 1e7 ? ["kb", 1e3] : ["mb", 1e6];
  return t(`lecturer.${unit}`, { size: number(bytes / by, { maximumFractionDigits: 0 }) });
}
