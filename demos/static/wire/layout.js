// Where everything of the sequence diagram stands: from the story to shapes with coordinates, before
// anything is drawn.  Time goes down; from left to right: the time, the browser's line, the arrows,
// the server's line, and beside it a bar for each connection that is in use.

import { TimeScale } from "./timescale.js";

const ROW = 1.75; // em
const GUTTER = 4.2;
const LANE = 1.45;
export const SHORT = 5; // ms, one way
const PLAIN = 0.3; // at least so high is a bar

/**
 * Lay out a story: `width` and `em` in pixels, `now` by the server's clock, `before(thing)` where a
 * thing stood in the picture before.  There it stays: when old things are forgotten, `top` moves.
 * The result is `{arrows, bars, gaps, silences, columns, top, height}`.
 */
export function layOut(story, { width, em, now, before }) {
  const things = story.things.map((thing) => ({ thing, ...momentsOf(thing) }));
  const moments = things.flatMap(({ server, last, browser }) => [server, last, browser].filter(Boolean));
  if (now !== undefined) moments.push({ at: Math.max(now, ...moments.map(({ at }) => at)) });
  const scale = new TimeScale(moments);
  const row = ROW * em;
  const columns = columnsOf(story, width, em);
  const height = scale.rows * row;
  const top = topOf(things, row, before);
  const y = (at) => top + scale.y(at) * row;
  const span = ({ from, to }) => ({ top: y(from), bottom: to === undefined ? top + height : y(to) });

  return {
    columns,
    top,
    height,
    silences: scale.silences.map((silence) => ({ ...silence, y: top + silence.y * row })),
    arrows: things.map(({ thing, server, last, browser }) => ({
      thing,
      y: top + server.y * row,
      yLast: last && top + last.y * row,
      yBrowser: top + (browser ?? server).y * row,
      x: columns.lane(thing.lane ?? 0),
    })),
    bars: story.bars.map((bar) => ({ bar, x: columns.lane(bar.lane), ...tall(span(bar), PLAIN * em) })),
    gaps: story.gaps.map((gap) => ({ gap, ...span(gap) })),
  };
}

// A label stands at the server's end, the one that is known; the browser's end takes no row.  What
// ends a gap leaves a row for the gap's own label.  Where a burst is stretched even a short way would
// be steep, and lines would cross, so a short one is drawn as none.
function momentsOf({ at, until, direction, exchange, endsGap }) {
  const transit = exchange?.transit >= SHORT ? exchange.transit : 0;
  return {
    server: { at, label: endsGap ? 2 : 1 },
    last: until === undefined ? undefined : { at: until },
    browser: transit ? { at: direction === "up" ? at - transit : at + transit } : undefined,
  };
}

function topOf(things, row, before) {
  const known = things.find(({ thing }) => before(thing) !== undefined);
  return known ? before(known.thing) - known.server.y * row : 0;
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

function tall({ top, bottom }, least) {
  return { top, bottom: Math.max(bottom, top + least) };
}
