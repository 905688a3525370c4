// What is in the sequence diagram, in words: the label of an arrow, in parts of which the first is the most
// important, and one sentence that tells all, for the tooltip and for whoever hears the page.

import { number, t } from "../words.js";

/** The parts of a thing's label. */
export function label(thing) {
  if (thing.count) return [t(`sequence.many.${thing.sort}`, facts(thing))];
  return LABELS[thing.sort](thing).filter(Boolean);
}

const LABELS = {
  request: (thing) => [`${thing.method} …/${tail(thing.target)}`, bytes(thing.bytes)],
  answer: (thing) => [
    answerName(thing),
    thing.events !== undefined && events(thing.events),
    thing.wasted && t("sequence.wasted"),
    bytes(thing.bytes),
    thing.held > 20 && t("sequence.after", { time: duration(thing.held) }),
  ],
  stream: (thing) => [String(thing.status), t("sequence.stays_open"), bytes(thing.bytes)],
  event: (thing) => [events(thing.events), bytes(thing.bytes)],
  chunk: (thing) => [t("sequence.piece"), bytes(thing.bytes)],
  finish: () => [t("sequence.finish")],
  beat: (thing) => [t("sequence.heartbeat"), bytes(thing.bytes)],
  ping: (thing) => ["ping", bytes(thing.bytes)],
  pong: (thing) => ["pong", bytes(thing.bytes)],
  message: (thing) => [t("sequence.message"), bytes(thing.bytes)],
  ack: (thing) => [t("sequence.ack"), bytes(thing.bytes)],
  frame: (thing) => [t("sequence.frame"), bytes(thing.bytes)],
  close: (thing) => [t("sequence.close_frame"), thing.code && String(thing.code)],
  end: (thing) => [t("sequence.end", { connection: thing.connection })],
  dropped: (thing) => [t("sequence.dropped", { bytes: bytes(thing.bytes) })],
};

/** One sentence with everything that is known of a thing; `zero` is the moment at which times begin. */
export function describe(thing, zero) {
  return [
    t("sequence.tell.when", { time: clock(thing.at, zero), clock: wallClock(thing.at) }),
    t(`sequence.tell.${story(thing)}`, { ...facts(thing), what: label(thing).join(", ") }),
    thing.wasted && t("sequence.tell.wasted"),
    thing.direction && wayThere(thing),
  ].filter(Boolean).join(" ");
}

function story({ count, direction, status, sort }) {
  if (count) return `many.${direction}`;
  return status === 101 ? "switch" : sort;
}

function wayThere({ exchange }) {
  const { transit } = exchange;
  if (transit === undefined) return t("sequence.tell.transit_unknown");
  return t("sequence.tell.transit", { time: duration(transit) });
}

function facts(thing) {
  return {
    ...thing,
    target: thing.target ? question(thing.target) : "",
    code: thing.code ?? "–",
    count: number(thing.count ?? 1),
    events: events(thing.events ?? 0),
    bytes: bytes(thing.bytes ?? 0),
    held: duration(thing.held ?? 0),
    time: duration(Math.max((thing.until ?? thing.at) - thing.at, 1)),
  };
}

/** A stretch of time in which the page could not be reached. */
export function stretchLabel({ sort, from, to }) {
  return t(`sequence.${sort}`, { time: duration(to - from) });
}

export function silenceLabel({ from, to }) {
  return t("sequence.silence", { time: duration(to - from) });
}

function answerName({ method, status }) {
  return method === "GET" ? String(status) : `${method} … ${status}`;
}

function tail(target) {
  const path = target.split("?")[0];
  return path.slice(path.lastIndexOf("/") + 1);
}

// What is asked; who asks, and the tap's secret, are the same each time.
function question(target) {
  const [path, query] = target.split("?");
  const asked = new URLSearchParams(query);
  for (const name of ["client", "name", "trace"]) asked.delete(name);
  return asked.size ? `${path}?${asked}` : path;
}

function events(count) {
  return t(count === 1 ? "sequence.event" : "sequence.events", { count: number(count) });
}

/** What has happened so far, in counts. */
export function totals({ polls, empty, ...counts }, transport) {
  const parts = [t("sequence.total.requests", { count: number(counts.requests) })];
  if (transport === "short_polling") {
    parts.push(t("sequence.total.empty", { count: number(empty), all: number(polls) }));
  }
  for (const name of ["events", "posts", "heartbeats", "connections"]) {
    if (counts[name]) parts.push(t(`sequence.total.${name}`, { count: number(counts[name]) }));
  }
  return [...parts, `↑ ${bytes(counts.up)}`, `↓ ${bytes(counts.down)}`].join(" · ");
}

/** So many bytes, as people write them. */
export function bytes(count) {
  if (count < 1000) return `${number(count)} B`;
  return `${number(count / 1000, { maximumFractionDigits: count < 100_000 ? 1 : 0 })} kB`;
}

/** So many milliseconds, with as many digits as matter. */
export function duration(milliseconds) {
  if (milliseconds >= 999.5) {
    const digits = milliseconds < 10_000 ? 1 : 0;
    return `${number(milliseconds / 1000, { maximumFractionDigits: digits })} s`;
  }
  if (milliseconds < 0.05) return "< 0.1 ms";
  const digits = milliseconds < 10 ? 1 : 0;
  return `${number(milliseconds, { maximumFractionDigits: digits })} ms`;
}

/** Seconds since `zero`, to the millisecond. */
export function clock(at, zero) {
  const digits = { minimumFractionDigits: 3, maximumFractionDigits: 3, useGrouping: false };
  return number((at - zero) / 1000, digits);
}

function wallClock(at) {
  const date = new Date(at);
  const parts = [date.getHours(), date.getMinutes(), date.getSeconds()];
  const fraction = String(date.getMilliseconds()).padStart(3, "0");
  return `${parts.map((part) => String(part).padStart(2, "0")).join(":")}.${fraction}`;
}
