// The lesson of the forever frame, in two parts: when it must be made, so that the tab does not spin
// for ever, and what it keeps, unless every script block removes itself.

import { address } from "../ask.js";
import { number, t } from "../words.js";
import { make } from "../make.js";
import { excuse, fillLesson, pause, row, stranger, whilePressed } from "./parts.js";
import { uuid } from "../send.js";

const HOWS = ["markup", "load", "after"];
const LOOK = 300; // ms between two looks at the frames
const LINE = 40; // squares
const APART = 60; // ms between two messages: below the server's 20 a second

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
  part("hows").append(...HOWS.map((how) => howRow(how, room)));
  // A room of its own, so that nobody has to read what is said for the sake of memory.
  const own = `memory-${uuid()}`;
  let frames = [];
  let timer;

  function look() {
    if (document.hidden) return;
    frames.forEach((frame) => frame.look());
    part("frames").replaceChildren(...frames.map(frameRow));
    part("graph").replaceChildren(...frames.map(bar));
  }

  function open() {
    frames = [openFrame(part("holder"), own, undefined), openFrame(part("holder"), own, "1")];
    timer = setInterval(look, LOOK);
  }

  function close() {
    clearInterval(timer);
    look();
    part("holder").replaceChildren();
    frames = [];
  }

  part("open").addEventListener("click", () => {
    if (frames.length) close();
    else open();
    part("open").textContent = t(frames.length ? "lesson.iframe.close" : "lesson.iframe.open");
    part("say").disabled = !frames.length;
  });
  whilePressed(part("say"), () => sayMany(own, Number(part("count").value), part("progress")));
  look();
}

// --- the spinner -----------------------------------------------------------------------------------

// In a tab of its own, since it is the tab that spins.
function howRow(how, room) {
  const link = make("a", "button", t(`lesson.iframe.how-${how}`));
  link.href = `/demos/spinner.html?${new URLSearchParams({ how, room })}`;
  link.target = "_blank";
  link.rel = "noopener";
  return row(link, ...["state", "load", "tab"].map((what) => t(`lesson.iframe.${how}-${what}`)));
}

// --- memory ----------------------------------------------------------------------------------------

/** A frame in a frame: the inner one streams, and finds in the outer one, and not in us, its listener. */
function openFrame(holder, room, keep) {
  const outer = document.createElement("iframe");
  holder.append(outer);
  const frame = { keep, messages: 0, nodes: 0, characters: 0, look };
  outer.contentWindow.realtime = { receive: ({ kind }) => (frame.messages += kind === "say" ? 1 : 0) };
  const inner = outer.contentDocument.createElement("iframe");
  inner.src = address(room, "iframe_streaming", { after: "now", keep });
  outer.contentDocument.body.append(inner);

  function look() {
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

// A little square for every node there is: full lines of forty, and what is left.
function bar({ keep, nodes }) {
  const name = t(keep ? "lesson.iframe.kept" : "lesson.iframe.removed");
  const lines = [squares(LINE, Math.floor(nodes / LINE)), squares(nodes % LINE, 1)];
  return make("div", "", make("span", "", name), ...lines);
}

function squares(width, height) {
  const made = make("div", "squares");
  made.style.width = `${width / 2}rem`;
  made.style.height = `${height / 2}rem`;
  return made;
}

async function sayMany(room, count, progress) {
  const { say } = stranger(room);
  for (let n = 1; n <= count; n++) {
    try {
      await say(t("lesson.iframe.word", { n }), "iframe_streaming").said;
    } catch (trouble) {
      // Only a server that asks for patience has said when to come again.
      if (!trouble.retryAfter) return void (progress.textContent = excuse(trouble));
      await pause(1000 * trouble.retryAfter);
      n -= 1; // said again, under another id: the one before was refused
    }
    progress.textContent = t("lesson.said", { n, count });
    await pause(APART);
  }
}
