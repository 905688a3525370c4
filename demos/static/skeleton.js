// What the pages have in common, written once: the way round, the chat, the parts below it, the foot.
// The text is constant and our own; what people say is put in elsewhere, as text and never as markup.

import { askJSON } from "./ask.js";
import { choose, language, LANGUAGES, t, translate } from "./words.js";

export const TRANSPORTS = [
  "short_polling", "long_polling", "iframe_streaming", "sse", "fetch_streaming", "websocket",
  "sockjs", "socketio",
];
const PARTS = ["network", "sequence", "wire", "lesson", "exercises"];
// What a link to another page takes along.
const LUGGAGE = ["room", "name", "lang"];

const HEADER = `
  <a class="skip"></a>
  <a class="home" href="/">realtime</a>
  <nav id="ways" aria-label="Transports" data-i18n-aria-label="header.ways"></nav>
  <a class="class" href="/demos/lecturer.html" data-i18n="header.class">For the class</a>
  <div class="looks">
    <select id="language" aria-label="Language" data-i18n-aria-label="header.language"></select>
    <select id="theme" aria-label="Light or dark" data-i18n-aria-label="header.theme">
      <option value="auto" data-i18n="header.theme_auto">Colours: auto</option>
      <option value="light" data-i18n="header.theme_light">Colours: light</option>
      <option value="dark" data-i18n="header.theme_dark">Colours: dark</option>
    </select>
    <button id="big" type="button" title="Larger type, for a projector" data-i18n="header.big"
      data-i18n-title="header.big_why">Big</button>
  </div>`;

const CHAT = `
  <h2 id="chat-title" data-i18n="chat.title">Chat</h2>
  <form id="who" autocomplete="off">
    <label><span data-i18n="chat.name">Name</span> <input id="name" maxlength="32" required></label>
    <label><span data-i18n="chat.room">Room</span> <input id="room" maxlength="64" required></label>
    <button id="join" type="submit" data-i18n="chat.join">Join</button>
  </form>
  <p id="state" role="status"><span id="state-text"></span> <span id="countdown" aria-hidden="true"></span></p>
  <div id="log" role="log" aria-label="Messages" data-i18n-aria-label="chat.messages" tabindex="0">
    <ol id="messages"></ol>
  </div>
  <p id="error" role="alert"></p>
  <form id="say" autocomplete="off">
    <input id="text" aria-label="Message" placeholder="Say something" data-i18n-aria-label="chat.message"
      data-i18n-placeholder="chat.say" maxlength="20000" required>
    <button id="send" type="submit" data-i18n="chat.send">Send</button>
  </form>
  <section id="people" aria-labelledby="people-title">
    <h3 id="people-title"><span data-i18n="chat.people">In this room:</span> <span id="member-count">0</span></h3>
    <ul id="members"></ul>
  </section>
  <p class="small" data-i18n="chat.delays">The milliseconds beside a message: <b>sent→shown</b> for
    your own, both on this machine’s clock; <b>published→shown</b> for the others’, from the hub’s clock
    to this machine’s. Clocks of different machines differ, so the second is exact only where the server
    runs on this machine.</p>`;

// --- every page ----------------------------------------------------------------------------------

/** Fill the page's <header>: the way round, and how the page looks. */
export function fillHeader() {
  const header = document.querySelector("header");
  header.innerHTML = HEADER;
  translate(header);
  fillSkip(header.querySelector(".skip"));
  header.querySelector("#ways").append(...TRANSPORTS.map(wayTo));
  for (const link of header.querySelectorAll("a:not(.skip)")) link.href = link.pathname + luggage();
  markHere(header);
  offerLooks();
}

function fillSkip(link) {
  const main = document.querySelector("main");
  main.id ||= "content";
  const chat = document.getElementById("chat");
  link.href = `#${chat ? "chat" : main.id}`;
  link.textContent = t(chat ? "header.skip_chat" : "header.skip_main");
}

function wayTo(way) {
  const link = document.createElement("a");
  link.href = `/demos/${way}.html`;
  link.append(transportLabel(way));
  return link;
}

// "page", for a screen reader; and in sight, where the row of names is longer than the screen.
function markHere(header) {
  const links = [...header.querySelectorAll("a:not(.skip)")];
  const here = links.find((link) => link.pathname === location.pathname);
  here?.setAttribute("aria-current", "page");
  const row = header.querySelector("#ways");
  if (row.contains(here)) row.scrollLeft = here.offsetLeft - row.offsetLeft;
}

function luggage() {
  const all = [...new URLSearchParams(location.search)];
  const ours = all.filter(([key]) => LUGGAGE.includes(key));
  return ours.length ? `?${new URLSearchParams(ours)}` : "";
}

export function transportLabel(transport) {
  const label = document.createElement("span");
  label.className = "way";
  label.dataset.via = transport;
  label.textContent = transport;
  return label;
}

function offerLooks() {
  const root = document.documentElement;
  const [languages, theme, big] = ["language", "theme", "big"].map((id) => document.getElementById(id));
  languages.append(...Object.entries(LANGUAGES).map(([code, itself]) => languageOption(code, itself)));
  languages.addEventListener("change", () => choose(languages.value));

  theme.value = root.dataset.theme;
  theme.addEventListener("change", () => {
    root.dataset.theme = theme.value;
    localStorage.setItem("realtime.theme", theme.value);
  });

  big.setAttribute("aria-pressed", root.hasAttribute("data-big"));
  big.addEventListener("click", () => {
    const larger = root.toggleAttribute("data-big");
    big.setAttribute("aria-pressed", larger);
    localStorage.setItem("realtime.big", larger ? "yes" : "no");
  });
}

// Each language is named in itself: who looks for it may read no other.
function languageOption(code, itself) {
  const option = new Option(itself, code, false, code === language);
  option.lang = code;
  return option;
}

/** Say which hub is in use, and why: what is measured here depends on it. */
export async function fillFoot() {
  const foot = document.getElementById("hub");
  try {
    const { hub, version } = await askJSON(new URL("/healthz", location));
    foot.textContent = t("foot.hub", { hub, version });
  } catch {
    foot.textContent = t("foot.silent");
  }
}

// --- a transport's page --------------------------------------------------------------------------

/** Fill the empty parts of a transport's page. */
export function fillPage() {
  const chat = document.getElementById("chat");
  chat.innerHTML = CHAT;
  translate(chat);
  fillHeader();
  document.querySelector("main").append(...PARTS.map(part));
  fillMenu(document.querySelector(".parts"));
  fillFoot();
  goToPart();
}

/** The place in a part that another module fills. */
export function inside(id) {
  return document.querySelector(`#${id} .inside`);
}

function part(id) {
  const section = document.createElement("section");
  section.id = id;
  section.className = "part";
  section.innerHTML = "<details open><summary><h2></h2></summary><div class='inside'></div></details>";
  section.querySelector("h2").textContent = t(`part.${id}`);
  return section;
}

function fillMenu(nav) {
  nav.append(...["idea", "chat", ...PARTS].map((id) => {
    const link = document.createElement("a");
    link.href = `#${id}`;
    link.textContent = t(`part.${id}`);
    return link;
  }));
  // A part that is folded unfolds for whoever goes there.
  nav.addEventListener("click", ({ target }) => target.hash && unfold(target.hash));
}

function unfold(hash) {
  const section = document.getElementById(hash.slice(1));
  const details = section?.querySelector(":scope > details");
  if (details) details.open = true;
  return section;
}

// The address may name a part, which was not there yet when the browser looked for it.
function goToPart() {
  unfold(location.hash)?.scrollIntoView();
}
