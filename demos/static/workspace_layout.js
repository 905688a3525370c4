// The layout of a transport's page: the workspace of chat, sequence diagram and bytes, and the tabs below it.
// This markup is constant and our own; other modules add what people write, as text and never as markup.

import { byId, el } from "./dom.js";
import { number, t, translate } from "./i18n.js";
import { fillFooter, fillHeader } from "./page_layout.js";
import { showTabs } from "./tabs.js";

const VIEWS = ["chat", "sequence", "wire"];
// What `?encoding=` of a transport may be; the libraries decide for themselves.
const ENCODINGS = { websocket: ["deflate"], sockjs: [], socketio: [], webtransport: [] };
const HTTP_ENCODINGS = ["gzip", "zstd", "dcz"];

const PAGE = `
  <div class="screen">
    <div class="top"></div>
    <div id="views" class="tabs" aria-label="Views" data-i18n-aria-label="part.views"></div>
    <div class="workspace">
      <section id="chat">
        <div class="view-head">
          <h2 data-i18n="part.chat">Chat</h2>
          <p id="state" role="status"><span id="state-text"></span> <span id="countdown" aria-hidden="true"></span></p>
        </div>
        <form id="who" autocomplete="off">
          <label><span data-i18n="chat.name">Name</span> <input id="name" maxlength="32" required></label>
          <label><span data-i18n="chat.room">Room</span> <input id="room" maxlength="64" required></label>
          <button id="join" type="submit" data-i18n="chat.join">Join</button>
        </form>
        <div id="log" role="log" aria-label="Messages" data-i18n-aria-label="chat.messages" tabindex="0">
          <ol id="messages"></ol>
        </div>
        <p id="error" role="alert"></p>
        <form id="say" autocomplete="off">
          <input id="text" aria-label="Message" placeholder="Write a message" data-i18n-aria-label="chat.message"
            data-i18n-placeholder="chat.say" maxlength="20000" required>
          <button id="send" type="submit" data-i18n="chat.send">Send</button>
        </form>
        <div id="people">
          <h3><span data-i18n="chat.people">In this room:</span> <span id="member-count">0</span></h3>
          <ul id="members"></ul>
        </div>
        <details class="small">
          <summary data-i18n="chat.delays_title">What the milliseconds mean</summary>
          <p data-i18n="chat.delays">The milliseconds beside a message: <b>sent→shown</b> for
your own, both on this machine’s clock; <b>published→shown</b> for the others’, from the message
broker’s clock to this machine’s. Clocks of different machines differ, so the second is exact only
where the server runs on this machine.</p>
        </details>
      </section>
      <div id="player" role="group" aria-label="Traffic capture" data-i18n-aria-label="player.title"></div>
      <section id="sequence"></section>
      <section id="wire"></section>
    </div>
    <div id="bench">
      <p class="encoding"><label><span data-i18n="chat.encoding">Compression</span>
        <select id="encoding" class="setting"><option value="" data-i18n="chat.encoding_none">none</option></select>
      </label></p>
      <div id="network"></div>
    </div>
  </div>
  <section id="study" aria-labelledby="study-title">
    <h2 id="study-title" data-i18n="part.study">Learn and try</h2>
    <div id="study-tabs" class="tabs" aria-labelledby="study-title"></div>
  </section>`;

/**
 * Build a transport's page around what its HTML has: the article `#idea`, and `#settings` of the transport.
 * The workspace is the first screen; the rest of the article is the first tab below it.
 */
export function fillPage() {
  const main = document.querySelector("main");
  const article = byId("idea");
  const settings = byId("settings");
  main.className = "transport";
  main.insertAdjacentHTML("afterbegin", PAGE);
  translate(main);
  main.querySelector(".top").append(...article.querySelectorAll("h1, h1 + p"));
  if (settings) byId("bench").prepend(settings);
  fillEncodings(ENCODINGS[document.body.dataset.transport] ?? HTTP_ENCODINGS);
  // An <article> cannot be the panel of a tab.
  article.replaceWith(el("div", { id: "idea" }, ...article.childNodes));
  byId("study").append(byId("idea"), el("div", { id: "lesson" }), el("div", { id: "exercises" }));
  document.body.append(el("footer", "", el("span", { id: "hub" })));
  fillHeader();
  fillFooter();
}

function fillEncodings(names) {
  byId("encoding").append(...names.map((name) => el("option", { value: name }, name)));
  byId("encoding").closest("p").hidden = !names.length;
}

/** Put the views of the workspace into tabs, which a narrow screen shows; `onShow` is called at each change. */
export function showViewTabs(onShow) {
  const views = VIEWS.map((id) => [t(`part.${id}`), byId(id)]);
  openFromUrl(showTabs(byId("views"), views, onShow));
}

/** Put the article, the lesson and each exercise into tabs. */
export function showStudyTabs() {
  const exercises = [...byId("exercises").querySelectorAll(".exercise")];
  const panels = [
    [t("part.idea"), byId("idea")],
    [t("part.lesson"), byId("lesson")],
    ...exercises.map((exercise, n) => [t("part.exercise", { n: number(n + 1) }), exercise]),
  ];
  openFromUrl(showTabs(byId("study-tabs"), panels));
}

// A link to the page may name a part of it, which did not exist when the browser looked for it.
function openFromUrl(open) {
  const id = location.hash.slice(1);
  if (id && open(id)) byId(id).scrollIntoView();
}
