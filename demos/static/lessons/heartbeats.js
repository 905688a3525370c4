// What a stream of server-sent events carries, on a time line: events, and the comments that the browser
// hides from the page.

import { svgEl } from "../dom.js";
import { t } from "../i18n.js";
import { pushBounded } from "./helpers.js";
import { watchChunks } from "./watch.js";

const MAX_MARKS = 200;
const SPAN = 90; // seconds that are drawn
const LEFT = 10;
const WIDTH = 460;
const LINE = 40;

/** `{list: [{at, kind}], comments, events}` of everything the tap sees; `at` by this page's clock. */
export function watchHeartbeats(tap) {
  const heartbeats = { list: [], comments: 0, events: 0 };
  function count(kind, total) {
    heartbeats[total] += 1;
    pushBounded(heartbeats.list, { at: Date.now(), kind }, MAX_MARKS);
  }
  watchChunks(tap, "sse", (data) => {
    for (const line of new TextDecoder().decode(data).split("\n")) {
      if (line.startsWith(":")) count("comment", "comments");
      else if (line.startsWith("data:")) count("event", "events");
    }
  });
  return heartbeats;
}

export function drawHeartbeats(chart, { list }) {
  const end = Date.now();
  const x = (at) => LEFT + WIDTH * (1 - (end - at) / (1000 * SPAN));
  const shown = list.filter(({ at }) => end - at < 1000 * SPAN);
  chart.setAttribute("aria-label", t("lesson.sse.chart"));
  chart.replaceChildren(
    svgEl("line", { class: "axis", x1: LEFT, x2: LEFT + WIDTH, y1: LINE, y2: LINE }),
    svgEl("text", { x: LEFT, y: LINE + 18 }, t("lesson.sse.past", { seconds: SPAN })),
    svgEl("text", { x: LEFT + WIDTH, y: LINE + 18, "text-anchor": "end" }, t("lesson.sse.now")),
    ...legend(),
    ...shown.map(({ at, kind }) => mark(kind, x(at), LINE)),
  );
}

function legend() {
  return [["event", "lesson.sse.key-event"], ["comment", "lesson.sse.key-comment"]].flatMap(([kind, key], i) => [
    mark(kind, LEFT + 8 + i * 200, 12),
    svgEl("text", { x: LEFT + 20 + i * 200, y: 16 }, t(key)),
  ]);
}

function mark(kind, x, y) {
  if (kind === "event") return svgEl("circle", { cx: x, cy: y, r: 5 });
  return svgEl("path", { class: "comment", d: `M${x} ${y - 7}V${y + 7}` });
}
