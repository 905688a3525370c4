// The lesson of server-sent events: what the browser does by itself.  It reconnects and sends its position
// as `Last-Event-ID`; and it reads the heartbeats, and hides them from the page.

import { el } from "../dom.js";
import { number, t } from "../i18n.js";
import { breakStream } from "./break_stream.js";
import { drawHeartbeats, watchHeartbeats } from "./heartbeats.js";
import { failure, fillLesson, onClick, pushBounded, requireNetworks, row } from "./helpers.js";
import { watchHeads } from "./watch.js";

const MAX_REQUESTS = 6;
const DRAW_INTERVAL = 1000;

const PAGE = `
  <h2 data-i18n="lesson.sse.title"></h2>
  <p data-i18n="lesson.sse.idea"></p>
  <p class="controls"><button type="button" data-part="break" data-i18n="lesson.sse.break"></button>
    <span data-part="trouble" role="status"></span></p>
  <ol data-part="steps" class="steps"></ol>
  <h3 data-i18n="lesson.sse.requests-title"></h3>
  <p data-i18n="lesson.sse.requests"></p>
  <div class="scroll"><table>
    <thead><tr><th data-i18n="lesson.sse.when"></th><th><code>after</code></th><th><code>Last-Event-ID</code></th>
      <th data-i18n="lesson.sse.from"></th></tr></thead>
    <tbody data-part="requests"></tbody>
  </table></div>
  <h3 data-i18n="lesson.sse.beats-title"></h3>
  <p data-i18n="lesson.sse.beats"></p>
  <svg data-part="beats" class="beats" viewBox="0 0 480 62" role="img"></svg>
  <p data-part="count" class="small"></p>`;

export function showLesson(element, { tap, room }) {
  const part = fillLesson(element, PAGE);
  const requests = [];

  // The experiment uses the same tap, so its requests appear in the same list.
  watchHeads(tap, "sse", (request) => {
    pushBounded(requests, request, MAX_REQUESTS);
    part("requests").replaceChildren(...requests.map(requestRow));
  });

  const heartbeats = watchHeartbeats(tap);
  setInterval(() => document.hidden || showHeartbeats(part, heartbeats), DRAW_INTERVAL);
  showHeartbeats(part, heartbeats);

  requireNetworks(part("break"), part("trouble"));
  onClick(part("break"), async () => {
    const startedAt = performance.now();
    part("steps").replaceChildren();
    part("trouble").textContent = "";
    const onStep = (key, values) => {
      part("steps").append(stepLine(performance.now() - startedAt, key, values));
    };
    try {
      await breakStream(room, tap, onStep);
    } catch (error) {
      part("trouble").textContent = failure(error);
    }
  });
}

function stepLine(ms, key, values) {
  const at = `${number(ms / 1000, { minimumFractionDigits: 2, maximumFractionDigits: 2 })} s`;
  const className = key.endsWith("again") ? "news" : "";
  const line = el("li", className, el("span", "at", at), t(key, values));
  line.dataset.step = key.split(".").at(-1);
  return line;
}

function requestRow({ startedAt, target, fields }) {
  const last = fields.get("last-event-id");
  const after = new URL(target, location).searchParams.get("after");
  const line = row(
    new Date(startedAt).toLocaleTimeString(),
    el("code", "", after ?? "–"),
    last ? el("mark", "", el("code", "", last)) : "–",
    last ? t("lesson.sse.resumes") : t("lesson.sse.begins"),
  );
  if (last) line.classList.add("news");
  return line;
}

function showHeartbeats(part, heartbeats) {
  drawHeartbeats(part("beats"), heartbeats);
  const last = heartbeats.list.findLast(({ kind }) => kind === "comment");
  part("count").textContent = t("lesson.sse.count", {
    comments: number(heartbeats.comments),
    events: number(heartbeats.events),
    ago: last
      ? t("lesson.sse.ago", { seconds: number(Math.round((Date.now() - last.at) / 1000)) })
      : t("lesson.sse.none"),
  });
}
