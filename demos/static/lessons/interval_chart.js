// Delay against interval: a dot per message, and the two lines that theory predicts.  Both axes are in
// seconds and of the same length, so that the line of the longest wait is the diagonal.

import { svgEl } from "../dom.js";
import { number, t } from "../i18n.js";
import { mean } from "./helpers.js";

const LEFT = 44;
const BOTTOM = 234;
const SIDE = 350;
const HEIGHT = 214;
const AXIS_ENDS = [0.5, 1, 2, 5, 10]; // seconds
const MAX_DOTS = 60; // of one interval

export function drawChart(chart, runs, interval) {
  const longest = Math.max(interval, ...runs.map((run) => run.interval));
  const end = AXIS_ENDS.find((one) => one >= longest) ?? longest;
  const place = {
    x: (value) => LEFT + (SIDE * value) / end,
    y: (value) => BOTTOM - (HEIGHT * Math.min(value, end * 1.05)) / end,
  };
  chart.replaceChildren(
    ...axes(place, end),
    ...theory(place, end),
    svgEl("line", { class: "here", x1: place.x(interval), x2: place.x(interval), y1: BOTTOM, y2: place.y(end) }),
    ...runs.flatMap((run) => dots(place, run)),
  );
}

function axes(place, end) {
  const marks = [0, 1, 2, 3, 4, 5].map((i) => (i * end) / 5);
  const label = (value) => number(value, { maximumFractionDigits: 1 });
  return [
    ...marks.flatMap((value) => [
      svgEl("line", { class: "axis", x1: LEFT, x2: LEFT + SIDE, y1: place.y(value), y2: place.y(value) }),
      svgEl("text", { x: LEFT - 6, y: place.y(value) + 4, "text-anchor": "end" }, label(value)),
      svgEl("text", { x: place.x(value), y: BOTTOM + 15, "text-anchor": "middle" }, label(value)),
    ]),
    svgEl("text", { x: LEFT + SIDE, y: BOTTOM + 31, "text-anchor": "end" }, t("lesson.short.axis-x")),
    svgEl("text", { x: LEFT, y: 12 }, t("lesson.short.axis-y")),
  ];
}

function theory(place, end) {
  return [["worst", 1, t("lesson.short.line-worst")], ["mean", 0.5, t("lesson.short.line-mean")]]
    .flatMap(([name, slope, label]) => [
      svgEl("line", { class: name, x1: place.x(0), y1: place.y(0), x2: place.x(end), y2: place.y(slope * end) }),
      svgEl("text", { x: LEFT + SIDE + 6, y: place.y(slope * end) + 4 }, label),
    ]);
}

// The wide mark is the mean of the dots around it.
function dots(place, { interval, delays }) {
  const x = place.x(interval);
  const marks = delays.slice(-MAX_DOTS).map((delay) => svgEl("circle", { cx: x, cy: place.y(delay), r: 3 }));
  if (!delays.length) return marks;
  const y = place.y(mean(delays));
  return [...marks, svgEl("line", { class: "measured", x1: x - 11, x2: x + 11, y1: y, y2: y })];
}
