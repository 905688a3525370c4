// The layout that the pages share: header and navigation, the workspace of a transport, the tabs below it, the
// footer.
// This markup is constant and our own; other modules add what people write, as text and never as markup.

import { requestJSON, ROOT } from "./api.js";
import { byId, el } from "./dom.js";
import { choose, language, LANGUAGES, number, t, translate } from "./i18n.js";
import { local } from "./storage.js";
import { showTabs } from "./tabs.js";

export const TRANSPORTS = [
  "short_polling", "long_polling", "iframe_streaming", "sse", "fetch_streaming", "websocket",
  "sockjs", "socketio",
];
const VIEWS = ["chat", "sequence", "wire"];
// The query parameters that a link to another page keeps.
const KEPT_PARAMETERS = ["room", "name", "lang"];

const HEADER = `
  <a class="skip"></a>
  <nav class="pages" aria-label="Pages" data-i18n-aria-label="header.pages">
    <a class="home" href="../" data-i18n="header.story">Story</a>
    <a href="../demos/lab.html" data-i18n="header.lab">Lab</a>
    <div id="ways"></div>
    <a href="../demos/lecturer.html" data-i18n="header.class">Class</a>
    <a href="../demos/cluster.html" data-i18n="header.cluster">Cluster</a>
    <a href="../demos/sticky.html" data-i18n="header.sticky">Sticky</a>
  </nav>
  <div class="looks">
    <select id="language" aria-label="Language" data-i18n-aria-label="header.language"></select>
    <select id="theme" aria-label="Light or dark" data-i18n-aria-label="header.theme">
      <option value="auto" data-i18n="header.theme_auto">Auto</option>
      <option value="light" data-i18n="header.theme_light">Light</option>
      <option value="dark" data-i18n="header.theme_dark">Dark</option>
    </select>
    <button id="big" type="button" title="Larger type, for a projector" data-i18n="header.big"
      data-i18n-title="header.big_why">Big</button>
  </div>`;

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
    <div id="bench"><div id="network"></div></div>
  </div>
  <section id="study" aria-labelledby="study-title">
    <h2 id="study-title" data-i18n="part.study">Learn and try</h2>
    <div id="study-tabs" class="tabs" aria-labelledby="study-title"></div>
  </section>`;

// --- every page ----------------------------------------------------------------------------------

/** Fill the page's <header>: navigation, language, theme and size. */
export function fillHeader() {
  const header = document.querySelector("header");
  header.innerHTML = HEADER;
  translate(header);
  fillSkipLink(header.querySelector(".skip"));
  header.querySelector("#ways").append(...TRANSPORTS.map(transportLink));
  for (const link of header.querySelectorAll("a:not(.skip)")) link.href = link.pathname + keptQuery();
  markCurrentPage(header);
  fillPreferences();
}

function fillSkipLink(link) {
  const main = document.querySelector("main");
  main.id ||= "content";
  const chat = byId("chat");
  link.href = `#${chat ? "chat" : main.id}`;
  link.textContent = t(chat ? "header.skip_chat" : "header.skip_main");
}

function transportLink(transport) {
  return el("a", { href: `../demos/${transport}.html` }, transportLabel(transport, transportName(transport)));
}

// `aria-current` is for screen readers.  On a narrow screen the row of names scrolls to the current page.
function markCurrentPage(header) {
  const links = [...header.querySelectorAll("a:not(.skip)")];
  const current = links.find((link) => link.pathname === location.pathname);
  current?.setAttribute("aria-current", "page");
  const row = header.querySelector(".pages");
  if (row.contains(current)) row.scrollLeft = current.offsetLeft - row.offsetLeft;
}

function keptQuery() {
  const all = [...new URLSearchParams(location.search)];
  const kept = all.filter(([key]) => KEPT_PARAMETERS.includes(key));
  return kept.length ? `?${new URLSearchParams(kept)}` : "";
}

/** The name of a transport as people write it: "Short polling". */
export function transportName(transport) {
  return t(`transport.${transport}`);
}

/** The name of a transport, with its colour. */
export function transportLabel(transport, name = transport) {
  const label = el("span", "transport-label", name);
  label.dataset.via = transport;
  return label;
}

function fillPreferences() {
  const root = document.documentElement;
  const [languages, theme, big] = ["language", "theme", "big"].map(byId);
  languages.append(...Object.entries(LANGUAGES).map(([code, name]) => languageOption(code, name)));
  languages.addEventListener("change", () => choose(languages.value));

  theme.value = root.dataset.theme;
  theme.addEventListener("change", () => {
    root.dataset.theme = theme.value;
    local.set("theme", theme.value);
  });

  big.setAttribute("aria-pressed", root.hasAttribute("data-big"));
  big.addEventListener("click", () => {
    const larger = root.toggleAttribute("data-big");
    big.setAttribute("aria-pressed", larger);
    local.set("big", larger ? "yes" : "no");
  });
}

// Each language is named in that language: a user who looks for it may not read any other.
function languageOption(code, name) {
  const option = new Option(name, code, false, code === language);
  option.lang = code;
  return option;
}

/** Link the glossary, and show which message broker is in use, and why: all measurements depend on it. */
export async function fillFooter() {
  const footer = byId("hub");
  footer.after(" ", el("a", { href: `../demos/glossary.html${keptQuery()}` }, t("header.glossary")));
  try {
    const { hub, version } = await requestJSON(new URL("healthz", ROOT));
    footer.textContent = t("foot.hub", { hub, version });
  } catch {
    footer.textContent = t("foot.silent");
  }
}

// --- a transport's page --------------------------------------------------------------------------

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
  // An <article> cannot be the panel of a tab.
  article.replaceWith(el("div", { id: "idea" }, ...article.childNodes));
  byId("study").append(byId("idea"), el("div", { id: "lesson" }), el("div", { id: "exercises" }));
  document.body.append(el("footer", "", el("span", { id: "hub" })));
  fillHeader();
  fillFooter();
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
