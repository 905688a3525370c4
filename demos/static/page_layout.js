// The layout that the pages share: header with navigation, and footer.  workspace_layout.js has the rest of a
// transport's page.
// This markup is constant and our own; other modules add what people write, as text and never as markup.

import { requestJSON, ROOT } from "./api.js";
import { byId, el } from "./dom.js";
import { t, translate } from "./i18n.js";
import { addPreferences } from "./preferences.js";

// Over TCP, so they pass every proxy and work on every page.  WebTransport needs UDP, HTTPS and a recent browser.
export const TCP_TRANSPORTS = [
  "short_polling", "long_polling", "iframe_streaming", "sse", "fetch_streaming", "websocket",
  "sockjs", "socketio",
];
export const TRANSPORTS = [...TCP_TRANSPORTS, "webtransport"];
// Linked at the foot: most visitors need them rarely, and a long header is hard to read.
const MORE_PAGES = ["cluster", "sticky", "capture", "glossary"];
// The query parameters that a link to another page keeps.
const KEPT_PARAMETERS = ["room", "name", "lang"];

const HEADER = `
  <a class="skip"></a>
  <nav class="pages" aria-label="Pages" data-i18n-aria-label="header.pages">
    <a class="home" href="../" data-i18n="header.story">Story</a>
    <a href="../demos/lab.html" data-i18n="header.lab">Lab</a>
    <div id="ways"></div>
    <a href="../demos/lecturer.html" data-i18n="header.class">Class</a>
  </nav>`;

/** Fill the page's <header>: navigation, language, theme and size. */
export function fillHeader() {
  const header = document.querySelector("header");
  header.innerHTML = HEADER;
  translate(header);
  addPreferences(header);
  fillSkipLink(header.querySelector(".skip"));
  header.querySelector("#ways").append(...TRANSPORTS.map(transportLink));
  for (const link of header.querySelectorAll("a:not(.skip)")) link.href = link.pathname + keptQuery();
  markCurrentPage(header);
}

function fillSkipLink(link) {
  const main = document.querySelector("main");
  main.id ||= "content";
  const chat = byId("chat");
  link.href = `#${chat ? "chat" : main.id}`;
  link.textContent = t(chat ? "header.skip_chat" : "header.skip_main");
}

function transportLink(transport) {
  return el("a", { href: `../demos/${transport}.html` }, transportLabel(transport));
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

/** The name of a transport, with its colour.  Other senders (curl, a script) name themselves. */
export function transportLabel(transport) {
  const name = TRANSPORTS.includes(transport) ? transportName(transport) : transport;
  const label = el("span", "transport-label", name);
  label.dataset.via = transport;
  return label;
}

/**
 * Link further pages, and show who may do what here, and which message broker is in use, and why: all
 * measurements depend on it.
 */
export async function fillFooter() {
  const footer = byId("hub");
  footer.after(" ", morePages());
  try {
    const { hub, access, version } = await requestJSON(new URL("healthz", ROOT));
    footer.textContent = `${t("foot.hub", { hub, version })} ${t(`foot.access.${access}`)}`;
  } catch {
    footer.textContent = t("foot.silent");
  }
}

function morePages() {
  const links = MORE_PAGES.map((page) => {
    const link = el("a", { href: `../demos/${page}.html` }, t(`header.${page}`));
    link.href = link.pathname + keptQuery();
    if (link.pathname === location.pathname) link.setAttribute("aria-current", "page");
    return link;
  });
  const nav = el("nav", "more-pages", ...links);
  nav.setAttribute("aria-label", t("foot.more"));
  return nav;
}
