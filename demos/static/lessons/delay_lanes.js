// The delays of the same messages over several lines, one above the other with the same scale: a dot per message,
// a cross for one that never came.  And their figures.

import { svgEl } from "../dom.js";
import { number, t } from "../i18n.js";
import { quantile } from "./helpers.js";

const LEFT = 62;
const RIGHT = 12;
const MAX_WIDTH = 680; // px: a phone has less, and text must stay readable there
const LANE = 92; // px
const TOP = 22; // of a lane: its name
const HEIGHT = LANE - TOP - 8;
const SCALES = [100, 200, 300, 500, 1000, 2000, 3000, 5000, 10_000]; // ms

/**
 * `delays` are those of messages in the order of sending, in ms, undefined for one that was not received.  `late` counts
 * those that took longer than `limit`.
 */
export function delayFigures(delays, limit) {
  const received = delays.filter((delay) => delay !== undefined);
  return {
    received: received.length,
    lost: delays.length - received.length,
    late: received.filter((delay) => delay > limit).length,
    median: quantile(received, 0.5),
    p95: quantile(received, 0.95),
    longest: received.length ? Math.max(...received) : undefined,
  };
}

/** Draw `lanes`, `[{via, name, delays}]`; `shortest` is the delay below which nothing can be. */
export function drawDelayLanes(svg, lanes, { count, shortest, isOver }) {
  const all = lanes.flatMap(({ delays }) => delays.filter((delay) => delay !== undefined));
  const longest = Math.max(shortest, ...all);
  const scale = SCALES.find((one) => one >= longest) ?? longest;
  const width = Math.min(MAX_WIDTH, svg.clientWidth || MAX_WIDTH);
  const end = width - RIGHT;
  svg.setAttribute("viewBox", `0 0 ${width} ${lanes.length * LANE}`);
  svg.setAttribute("aria-label", t("lesson.wt.chart"));
  svg.replaceChildren(...lanes.map((lane, n) => {
    const bottom = n * LANE + TOP + HEIGHT;
    const place = {
      end,
      x: (index) => LEFT + ((index + 0.5) * (end - LEFT)) / count,
      y: (delay) => bottom - (HEIGHT * delay) / scale,
    };
    const group = svgEl("g", {}, ...axis(place, lane.name, scale, shortest), ...marks(place, lane.delays, scale, isOver));
    group.dataset.via = lane.via;
    return group;
  }));
}

function axis(place, name, scale, shortest) {
  const line = (delay, type) => (
    svgEl("line", { class: type, x1: LEFT, x2: place.end, y1: place.y(delay), y2: place.y(delay) })
  );
  const label = (delay) => (
    svgEl("text", { x: LEFT - 6, y: place.y(delay) + 4, "text-anchor": "end" }, t("chat.ms", { ms: number(delay) }))
  );
  return [
    svgEl("text", { class: "name", x: LEFT, y: place.y(scale) - 7 }, name),
    line(0, "axis"), line(scale, "axis"), line(shortest, "shortest"),
    label(0), label(scale),
  ];
}

// What has not come is lost only at the end.
function marks(place, delays, scale, isOver) {
  return [...delays].flatMap((delay, n) => {
    if (delay !== undefined) return [svgEl("circle", { cx: place.x(n), cy: place.y(delay), r: 3 })];
    return isOver ? [cross(place.x(n), place.y(scale) + 5)] : [];
  });
}

function cross(x, y) {
  return svgEl("path", { class: "lost", d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8` });
}
