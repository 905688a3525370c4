// The layout of the sequence diagram: from the trace to coordinates, before anything is drawn.
// Time goes down; from left to right: the time, the browser's line, the arrows, the server's line, and
// beside it a bar for each connection that is in use.

import { TimeScale } from "./timescale.js";

const ROW = 1.75; // em
const GUTTER = 4.2;
const LANE = 1.45;
export const MIN_ONE_WAY = 5; // ms: a shorter way is drawn as a level arrow
const MIN_BAR_HEIGHT = 0.3;

/**
 * Lay out a trace: `width` and `em` in pixels, `now` by the server's clock, `previousY(entry)` is the y of an
 * entry in the previous picture.  It keeps that y: when old entries are removed, `top` moves.
 * The result is `{arrows, bars, outages, idlePeriods, columns, top, height}`.
 */
export function layOut(trace, { width, em, now, previousY }) {
  const limits = oneWayLimits(trace.entries);
  const entries = trace.entries.map((entry) => ({ entry, ...momentsOf(entry, limits.get(entry)) }));
  const moments = entries.flatMap(({ server, last, browser }) => [server, last, browser].filter(Boolean));
  if (now !== undefined) moments.push({ at: Math.max(now, ...moments.map(({ at }) => at)) });
  const scale = new TimeScale(moments);
  const row = ROW * em;
  const columns = columnsOf(trace, width, em);
  const height = scale.rows * row;
  const top = topOf(entries, row, previousY);
  const y = (at) => top + scale.y(at) * row;
  const span = ({ from, to }) => ({ top: y(from), bottom: to === undefined ? top + height : y(to) });

  return {
    columns,
    top,
    height,
    idlePeriods: scale.idlePeriods.map((period) => ({ ...period, y: top + period.y * row })),
    arrows: entries.map(({ entry, server, last, browser }) => ({
      entry,
      y: top + server.y * row,
      yLast: last && top + last.y * row,
      yBrowser: top + (browser ?? server).y * row,
      x: columns.lane(entry.lane ?? 0),
    })),
    bars: trace.bars.map((bar) => ({
      bar,
      x: columns.lane(bar.lane),
      ...withMinHeight(span(bar), MIN_BAR_HEIGHT * em),
    })),
    outages: trace.outages.map((outage) => ({ outage, ...span(outage) })),
  };
}

// A label is at the server's end, whose time is exact; the browser's end takes no row.  An entry that
// ends an outage leaves a row for the outage's label.  In a stretched burst even a short way would be steep
// and arrows would cross, so a short way is drawn level.
function momentsOf({ at, until, direction, exchange, endsOutage }, limit = Infinity) {
  const estimate = Math.min(exchange?.oneWay ?? 0, limit);
  const oneWay = estimate >= MIN_ONE_WAY ? estimate : 0;
  return {
    server: { at, label: endsOutage ? 2 : 1 },
    last: until === undefined ? undefined : { at: until },
    browser: oneWay ? { at: direction === "up" ? at - oneWay : at + oneWay } : undefined,
  };
}

// A response has arrived before the next request of its connection leaves.  So both ways together are at
// most the time between the two at the server, whatever the estimate from other exchanges is.
function oneWayLimits(entries) {
  const limits = new Map();
  const responses = new Map(); // connection: the last entry downwards
  for (const entry of entries) {
    if (entry.direction === "down") responses.set(entry.connection, entry);
    const response = entry.type === "request" && responses.get(entry.connection);
    if (!response) continue;
    const half = (entry.at - (response.until ?? response.at)) / 2;
    limits.set(response, half).set(entry, half);
  }
  return limits;
}

function topOf(entries, row, previousY) {
  const known = entries.find(({ entry }) => previousY(entry) !== undefined);
  return known ? previousY(known.entry) - known.server.y * row : 0;
}

function columnsOf({ lanes }, width, em) {
  const server = width - (0.9 + LANE * (Math.max(lanes, 1) - 1)) * em;
  return {
    time: (GUTTER - 0.5) * em,
    browser: (GUTTER + 0.4) * em,
    server,
    lane: (index) => server + LANE * em * index,
  };
}

function withMinHeight({ top, bottom }, height) {
  return { top, bottom: Math.max(bottom, top + height) };
}
