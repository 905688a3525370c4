// Measures the phones of a class, once a second, from the start of a run to its end; then the result stays.
//
// What a reload must not lose is in localStorage: the id of the run, the counters at its start, the result.

import { ApiError, request, requestJSON, ROOT } from "../api.js";
import { TCP_TRANSPORTS } from "../page_layout.js";
import { read, write } from "./channel.js";
import { dueMessages } from "./lesson.js";
import { difference, merge, rowsOf, snapshot, takeReports } from "./measure.js";
import { classRooms, RoomReader } from "./rooms.js";

const INTERVAL = 1000; // ms between two readings
const SEND_INTERVAL = 100;
const TIMEOUT = 10_000;

export class ClassFigures {
  #key;
  #phonesKey;
  #rooms;
  #onFigures;
  #seats;
  #reportReader;
  #phones; // the clients that have taken a seat
  #reports = {};
  #last = {};
  #clients = new Set();
  #lesson; // {room, run, key}
  #measurement; // {id, first, result}
  #sent = new Set();
  #silent = 0; // workers of a cluster whose counters are missing
  #busy = false;

  /** `onFigures({rows, phones, run, left, frozen, silent, error})` is called after each reading. */
  constructor(room, onFigures) {
    this.#key = `measured.${room}`;
    this.#phonesKey = `phones.${room}`;
    this.#rooms = classRooms(room);
    this.#onFigures = onFigures;
    this.#seats = new RoomReader(this.#rooms.seats);
    this.#reportReader = new RoomReader(this.#rooms.reports);
    // The server forgets a room that was idle for an hour.
    this.#phones = new Set(read(this.#phonesKey));
    setInterval(() => this.#measure(), INTERVAL);
    setInterval(() => this.#send(), SEND_INTERVAL);
  }

  /** The phones that are, or were lately, in the room. */
  get clients() {
    return this.#clients;
  }

  /** Measure this run from now on; `room` is where the class chats. */
  measure(lesson) {
    const isNew = lesson.run.id !== this.#lesson?.run.id;
    this.#lesson = lesson;
    if (!isNew) return;
    const kept = read(this.#key);
    this.#measurement = kept?.id === lesson.run.id ? kept : { id: lesson.run.id };
    this.#reports = {};
    this.#last = {};
    this.#sent = new Set();
    this.#reportReader = new RoomReader(this.#rooms.reports);
    this.#measure();
    const { at } = lesson.run;
    if (Date.now() < at) setTimeout(() => this.#measure(), at - Date.now() - 1);
  }

  async #measure() {
    if (this.#busy || !this.#lesson?.key) return;
    this.#busy = true;
    const { run } = this.#lesson;
    try {
      await this.#read(this.#lesson);
      if (run === this.#lesson.run) this.#report(run);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#report(run, error);
    } finally {
      this.#busy = false;
    }
  }

  async #read({ room, run, key }) {
    const [{ events: seats }, { events: reports }, { members, silent }] = await Promise.all([
      this.#seats.read(),
      this.#reportReader.read(),
      trafficOf(room, key),
    ]);
    if (run !== this.#lesson.run) return; // it has changed meanwhile
    for (const { client } of seats) this.#phones.add(client);
    if (seats.length) write(this.#phonesKey, [...this.#phones]);
    takeReports(this.#reports, reports, run.id);
    this.#last = merge(this.#last, snapshot(members, this.#phones));
    this.#clients = new Set(Object.keys(this.#last));
    this.#silent = silent;
    // Until the run starts, which is a moment after the command, there is always a newer first reading.
    if (!this.#measurement.first || Date.now() < run.at) this.#keep({ first: this.#last });
  }

  #report(run, error) {
    const left = run.seconds === undefined ? undefined : run.at / 1000 + run.seconds - Date.now() / 1000;
    const costs = difference(this.#measurement.first ?? {}, this.#last);
    const rows = this.#measurement.result ?? rowsOf(TCP_TRANSPORTS, costs, this.#reports);
    if (left <= 0 && !error && !this.#measurement.result) this.#keep({ result: rows });
    const phones = Object.keys(this.#last).length;
    const frozen = Boolean(this.#measurement.result);
    this.#onFigures({ rows, phones, run, left, frozen, silent: this.#silent, error });
  }

  #keep(more) {
    Object.assign(this.#measurement, more);
    write(this.#key, this.#measurement);
  }

  // With the key: these messages belong to no phone, and no rule that the lecturer has set stops them.
  async #send() {
    if (!this.#lesson || !this.#measurement.first || this.#measurement.result) return;
    const { room, run, key } = this.#lesson;
    for (const id of dueMessages(run, Date.now())) {
      if (this.#sent.has(id)) continue;
      this.#sent.add(id);
      publishAsLecturer(room, key, { id, text: `${this.#sent.size}` }).catch(() => this.#sent.delete(id));
    }
  }
}

function trafficOf(room, key) {
  const url = new URL(`class/${encodeURIComponent(room)}/traffic`, ROOT);
  url.search = new URLSearchParams({ key });
  return requestJSON(url, { signal: AbortSignal.timeout(TIMEOUT) });
}

/** Publish a command to the pages of the class. */
export function command(room, key, value) {
  return publishAsLecturer(classRooms(room).commands, key, { text: JSON.stringify(value) });
}

async function publishAsLecturer(room, key, message) {
  const url = new URL(`class/${encodeURIComponent(room)}/messages`, ROOT);
  url.search = new URLSearchParams({ key });
  const signal = AbortSignal.timeout(TIMEOUT);
  await request(url, { method: "POST", body: JSON.stringify(message), signal });
}
