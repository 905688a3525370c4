// What comes down a stream of server-sent events, on a line of time: events, and the comments that the
// page is never told of.

import { t } from "../words.js";
import { keep, svg } from "./parts.js";
import { watchChunks } from "./watch.js";

const KEPT = 200;
const SPAN = 90; // seconds that are drawn
const LEFT = 10;
const WIDTH = 460;
const LINE = 40;

/** `{list: [{at, kind}], comments, events}` of all that the tap has seen; `at` by this page's clock. */
export function watchBeats(tap) {
  const beats = { list: [], comments: 0, events: 0 };
  function count(kind, total) {
    beats[total] += 1;
    keep(beats.list, { at: Date.now(), kind }, KEPT);
  }
  watchChunks(tap, "sse", (data) => {
    for (const line of new TextDecoder().decode(data).split("\n")) {
      if (line.startsWith(":")) count("comment", "comments");
      else if (line.startsWith("data:")) count("event", "events");
    }
  });
  return beats;
}

export function drawBeats(chart, { list }) {
  const end = Date.now();
  const x = (at) => LEFT + WIDTH * (1 - (end - at) / (1000 * SPAN));
  const shown = list.filter(({ at }) => end - at < 1000 * SPAN);
  chart.setAttribute("aria-label", t("lesson.sse.chart"));
  chart.replaceChildren(
    svg("line", { class: "axis", x1: LEFT, x2: LEFT + WIDTH, y1: LINE, y2: LINE }),
    svg("text", { x: LEFT, y: LINE + 18 }, t("lesson.sse.past", { seconds: SPAN })),
    svg("text", { x: LEFT + WIDTH, y: LINE + 18, "text-anchor": "end" }, t("lesson.sse.now")),
    ...legend(),
    ...shown.map(({ at, kind }) => mark(kind, x(at), LINE)),
  );
}

function legend() {
  return [["event", "lesson.sse.key-event"], ["comment", "lesson.sse.key-comment"]].flatMap(([kind, key], i) => [
    mark(kind, LEFT + 8 + i * 200, 12),
    svg("text", { x: LEFT + 20 + i * 200, y: 16 }, t(key)),
  ]);
}

function mark(kind, x, y) {
  if (kind === "event") return svg("circle", { cx: x, cy: y, r: 5 });
  return svg("path", { class: "comment", d: `M${x} ${y - 7}V${y + 7}` });
}
