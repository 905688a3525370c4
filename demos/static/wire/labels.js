// The texts of the sequence diagram: the label of an arrow, in parts of which the first is the most
// important, and one full sentence, for the tooltip and for screen readers.

import { number, t } from "../i18n.js";

/** The parts of an entry's label. */
export function label(entry) {
  if (entry.count) return [t(`sequence.many.${entry.type}`, facts(entry))];
  return LABELS[entry.type](entry).filter(Boolean);
}

const LABELS = {
  request: (entry) => [`${entry.method} …/${tail(entry.target)}`, entry.bytes && bytes(entry.bytes)],
  response: (entry) => [
    responseName(entry),
    entry.events !== undefined && events(entry.events),
    entry.wasted && t("sequence.wasted"),
    bytes(entry.bytes),
    entry.held > 20 && t("sequence.after", { time: duration(entry.held) }),
  ],
  stream: (entry) => [String(entry.status), t("sequence.stays_open"), entry.bytes && bytes(entry.bytes)],
  event: (entry) => [events(entry.events), bytes(entry.bytes)],
  chunk: (entry) => [t("sequence.piece"), bytes(entry.bytes)],
  finish: () => [t("sequence.finish")],
  heartbeat: (entry) => [t("sequence.heartbeat"), bytes(entry.bytes)],
  ping: (entry) => ["ping", bytes(entry.bytes)],
  pong: (entry) => ["pong", bytes(entry.bytes)],
  message: (entry) => [t("sequence.message"), bytes(entry.bytes)],
  ack: (entry) => [t("sequence.ack"), bytes(entry.bytes)],
  frame: (entry) => [t("sequence.frame"), bytes(entry.bytes)],
  line: (entry) => [t("sequence.line"), bytes(entry.bytes)],
  packet: (entry) => [t("sequence.packet"), bytes(entry.bytes)],
  datagram: (entry) => [t("sequence.datagram"), bytes(entry.bytes)],
  close: (entry) => [t("sequence.close_frame"), entry.code && String(entry.code)],
  disconnect: (entry) => [t("sequence.end", { connection: entry.connection })],
  dropped: (entry) => [t("sequence.dropped", { bytes: bytes(entry.bytes) })],
};

/** One sentence with all values of an entry; times count from `start`. */
export function describe(entry, start) {
  return [
    t("sequence.tell.when", { time: clock(entry.at, start), clock: wallClock(entry.at) }),
    t(`sequence.tell.${sentence(entry)}`, { ...facts(entry), what: label(entry).join(", ") }),
    entry.wasted && t("sequence.tell.wasted"),
    entry.direction && oneWayText(entry),
  ].filter(Boolean).join(" ");
}

function sentence({ count, direction, method, status, type }) {
  if (count) return `many.${direction}`;
  if (type === "request" && method === "CONNECT") return "connect";
  return status === 101 ? "switch" : type;
}

function oneWayText({ exchange: { oneWay } }) {
  if (oneWay === undefined) return t("sequence.tell.transit_unknown");
  return t("sequence.tell.transit", { time: duration(oneWay) });
}

function facts(entry) {
  return {
    ...entry,
    target: entry.target ? shortTarget(entry.target) : "",
    code: entry.code ?? "–",
    count: number(entry.count ?? 1),
    events: events(entry.events ?? 0),
    bytes: bytes(entry.bytes ?? 0),
    held: duration(entry.held ?? 0),
    time: duration(Math.max((entry.until ?? entry.at) - entry.at, 1)),
  };
}

/** A time in which no event could reach the page. */
export function outageLabel({ type, from, to }) {
  return t(`sequence.${type}`, { time: duration(to - from) });
}

export function idleLabel({ from, to }) {
  return t("sequence.silence", { time: duration(to - from) });
}

function responseName({ method, status }) {
  return method === "GET" ? String(status) : `${method} … ${status}`;
}

function tail(target) {
  const path = target.split("?")[0];
  return path.slice(path.lastIndexOf("/") + 1);
}

// Without the client, its name and the secrets, which are the same in each request.
function shortTarget(target) {
  const [path, query] = target.split("?");
  const parameters = new URLSearchParams(query);
  for (const name of ["client", "name", "secret", "trace"]) parameters.delete(name);
  return parameters.size ? `${path}?${parameters}` : path;
}

function events(count) {
  return t(count === 1 ? "sequence.event" : "sequence.events", { count: number(count) });
}

/** The counts since the start. */
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

/** A number of bytes, with its unit. */
export function bytes(count) {
  if (count < 1000) return `${number(count)} B`;
  return `${number(count / 1000, { maximumFractionDigits: count < 100_000 ? 1 : 0 })} kB`;
}

/** A time in ms, with its unit and the digits that matter. */
export function duration(milliseconds) {
  if (milliseconds >= 999.5) {
    const digits = milliseconds < 10_000 ? 1 : 0;
    return `${number(milliseconds / 1000, { maximumFractionDigits: digits })} s`;
  }
  if (milliseconds < 0.05) return "< 0.1 ms";
  const digits = milliseconds < 10 ? 1 : 0;
  return `${number(milliseconds, { maximumFractionDigits: digits })} ms`;
}

/** Seconds since `start`, to the millisecond. */
export function clock(at, start) {
  const digits = { minimumFractionDigits: 3, maximumFractionDigits: 3, useGrouping: false };
  return number((at - start) / 1000, digits);
}

function wallClock(at) {
  const date = new Date(at);
  const parts = [date.getHours(), date.getMinutes(), date.getSeconds()];
  const fraction = String(date.getMilliseconds()).padStart(3, "0");
  return `${parts.map((part) => String(part).padStart(2, "0")).join(":")}.${fraction}`;
}
