// The lesson of server-sent events: what the browser does unasked.  It reconnects and says in
// `Last-Event-ID` where it was; and it reads the heartbeats, and tells nobody.

import { number, t } from "../words.js";
import { breakStream } from "./break_stream.js";
import { drawBeats, watchBeats } from "./beats.js";
import { make } from "../make.js";
import { excuse, fillLesson, keep, needNetworks, row, whilePressed } from "./parts.js";
import { watchHeads } from "./watch.js";

const ROWS = 6;
const TICK = 1000;

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

  // An experiment of ours has the same secret, so that its requests stand in the same list.
  watchHeads(tap, "sse", (request) => {
    keep(requests, request, ROWS);
    part("requests").replaceChildren(...requests.map(requestRow));
  });

  const beats = watchBeats(tap);
  setInterval(() => document.hidden || showBeats(part, beats), TICK);
  showBeats(part, beats);

  needNetworks(part("break"), part("trouble"));
  whilePressed(part("break"), async () => {
    const began = performance.now();
    part("steps").replaceChildren();
    part("trouble").textContent = "";
    const tell = (key, values) => part("steps").append(step(performance.now() - began, key, values));
    try {
      await breakStream(room, tap, tell);
    } catch (trouble) {
      part("trouble").textContent = excuse(trouble);
    }
  });
}

function step(ms, key, values) {
  const at = `${number(ms / 1000, { minimumFractionDigits: 2, maximumFractionDigits: 2 })} s`;
  const line = make("li", key.endsWith("again") ? "news" : "", make("span", "at", at));
  line.dataset.step = key.split(".").at(-1);
  line.append(t(key, values));
  return line;
}

function requestRow({ began, target, fields }) {
  const last = fields.get("last-event-id");
  const after = new URL(target, location).searchParams.get("after");
  const line = row(
    new Date(began).toLocaleTimeString(),
    make("code", "", after ?? "–"),
    last ? make("mark", "", make("code", "", last)) : "–",
    last ? t("lesson.sse.resumes") : t("lesson.sse.begins"),
  );
  if (last) line.classList.add("news");
  return line;
}

function showBeats(part, beats) {
  drawBeats(part("beats"), beats);
  const last = beats.list.findLast(({ kind }) => kind === "comment");
  part("count").textContent = t("lesson.sse.count", {
    comments: number(beats.comments),
    events: number(beats.events),
    ago: last
      ? t("lesson.sse.ago", { seconds: number(Math.round((Date.now() - last.at) / 1000)) })
      : t("lesson.sse.none"),
  });
}
