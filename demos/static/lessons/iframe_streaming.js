// The lesson of the forever frame, in two parts: when the page must add it, so that the tab's spinner stops,
// and how its memory grows, unless every script block removes itself.

import { roomUrl } from "../api.js";
import { el } from "../dom.js";
import { number, t } from "../i18n.js";
import { uuid } from "../publish.js";
import { failure, fillLesson, onClick, row, sleep, testUser } from "./helpers.js";

const METHODS = ["markup", "load", "after"];
const CHECK_INTERVAL = 300; // ms
const SQUARES = 40; // in a row
const SEND_INTERVAL = 60; // ms between two messages: below the server's limit of 20 a second

const PAGE = `
  <h2 data-i18n="lesson.iframe.title"></h2>
  <p data-i18n="lesson.iframe.spinner"></p>
  <div class="scroll"><table>
    <thead><tr><th data-i18n="lesson.iframe.made"></th><th><code>readyState</code></th>
      <th><code>load</code></th><th data-i18n="lesson.iframe.tab"></th></tr></thead>
    <tbody data-part="hows"></tbody>
  </table></div>
  <h3 data-i18n="lesson.iframe.memory-title"></h3>
  <p data-i18n="lesson.iframe.memory"></p>
  <p class="controls"><button type="button" data-part="open" data-i18n="lesson.iframe.open"></button>
    <label><span data-i18n="lesson.iframe.count"></span>
      <select data-part="count"><option>50</option><option selected>200</option><option>500</option></select></label>
    <button type="button" data-part="say" disabled data-i18n="lesson.iframe.say"></button>
    <span data-part="progress" role="status"></span></p>
  <div class="scroll"><table class="numbers">
    <thead><tr><td></td><th data-i18n="lesson.iframe.messages"></th><th data-i18n="lesson.iframe.nodes"></th>
      <th data-i18n="lesson.iframe.characters"></th><th data-i18n="lesson.iframe.each"></th></tr></thead>
    <tbody data-part="frames"></tbody>
  </table></div>
  <div data-part="graph" class="blocks" aria-hidden="true"></div>
  <p class="small" data-i18n="lesson.iframe.memory-note"></p>
  <div data-part="holder" hidden></div>`;

export function showLesson(element, { room }) {
  const part = fillLesson(element, PAGE);
  part("hows").append(...METHODS.map((method) => methodRow(method, room)));
  // In a separate room, so that the chat stays short.
  const testRoom = `memory-${uuid()}`;
  let frames = [];
  let timer;

  function show() {
    if (document.hidden) return;
    frames.forEach((frame) => frame.measure());
    part("frames").replaceChildren(...frames.map(frameRow));
    part("graph").replaceChildren(...frames.map(bar));
  }

  function open() {
    frames = [openFrame(part("holder"), testRoom, undefined), openFrame(part("holder"), testRoom, "1")];
    timer = setInterval(show, CHECK_INTERVAL);
  }

  function close() {
    clearInterval(timer);
    show();
    part("holder").replaceChildren();
    frames = [];
  }

  part("open").addEventListener("click", () => {
    if (frames.length) close();
    else open();
    part("open").textContent = t(frames.length ? "lesson.iframe.close" : "lesson.iframe.open");
    part("say").disabled = !frames.length;
  });
  onClick(part("say"), () => sendMany(testRoom, Number(part("count").value), part("progress")));
  show();
}

// --- the spinner -----------------------------------------------------------------------------------

// The link opens a new tab, because the spinner is the tab's.
function methodRow(method, room) {
  const href = `../demos/spinner.html?${new URLSearchParams({ how: method, room })}`;
  const text = t(`lesson.iframe.how-${method}`);
  const link = el("a", { className: "button", href, target: "_blank", rel: "noopener" }, text);
  return row(link, ...["state", "load", "tab"].map((column) => t(`lesson.iframe.${method}-${column}`)));
}

// --- memory ----------------------------------------------------------------------------------------

/** A frame in a frame: the inner one streams, and calls the listener in the outer one, not in the page. */
function openFrame(holder, room, keep) {
  const outer = el("iframe");
  holder.append(outer);
  const frame = { keep, messages: 0, nodes: 0, characters: 0, measure };
  outer.contentWindow.realtime = { receive: ({ kind }) => (frame.messages += kind === "say" ? 1 : 0) };
  const inner = outer.contentDocument.createElement("iframe");
  inner.src = roomUrl(room, "iframe_streaming", { after: "now", keep });
  outer.contentDocument.body.append(inner);

  function measure() {
    const page = inner.contentDocument?.documentElement;
    if (!page) return;
    frame.nodes = countNodes(page);
    frame.characters = page.outerHTML.length;
  }

  return frame;
}

function countNodes(page) {
  const walker = page.ownerDocument.createTreeWalker(page);
  let count = 1;
  while (walker.nextNode()) count += 1;
  return count;
}

function frameRow({ keep, messages, nodes, characters }) {
  return row(
    t(keep ? "lesson.iframe.kept" : "lesson.iframe.removed"),
    number(messages),
    number(nodes),
    number(characters),
    messages ? t("lesson.iframe.per", { nodes: number(nodes / messages, { maximumFractionDigits: 1 }) }) : "–",
  );
}

// A small square for every node: full rows of forty, and the rest.
function bar({ keep, nodes }) {
  const name = t(keep ? "lesson.iframe.kept" : "lesson.iframe.removed");
  const lines = [squares(SQUARES, Math.floor(nodes / SQUARES)), squares(nodes % SQUARES, 1)];
  return el("div", "", el("span", "", name), ...lines);
}

function squares(width, height) {
  const area = el("div", "squares");
  area.style.width = `${width / 2}rem`;
  area.style.height = `${height / 2}rem`;
  return area;
}

async function sendMany(room, count, progress) {
  const { send } = testUser(room);
  for (let n = 1; n <= count; n++) {
    try {
      await send(t("lesson.iframe.word", { n }), "iframe_streaming").done;
    } catch (error) {
      if (!error.retryAfter) return void (progress.textContent = failure(error));
      await sleep(1000 * error.retryAfter);
      n -= 1; // send it again under a new id: the server refused the old one
    }
    progress.textContent = t("lesson.said", { n, count });
    await sleep(SEND_INTERVAL);
  }
}
