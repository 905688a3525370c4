// The chat page: name and room, messages, members.  It does not depend on a transport: <body> names it.

import { requestJSON, ROOT, roomUrl } from "./api.js";
import { whyUnavailable } from "./available.js";
import { Connection } from "./client.js";
import { byId, el } from "./dom.js";
import { showExercises } from "./exercises.js";
import { explain, language, number, t } from "./i18n.js";
import { Log, person } from "./log.js";
import { networkControl } from "./networks.js";
import { transportLabel } from "./page_layout.js";
import { chooseName, rememberName, save, saveClient, take, takeClient } from "./tab_state.js";
import { openTap } from "./wire/tap.js";
import { showTraffic } from "./wire/workspace.js";
import { fillPage, showStudyTabs, showViewTabs } from "./workspace_layout.js";

const transport = document.body.dataset.transport;
fillPage();
const missing = whyUnavailable(transport); // loads the module, which the connection needs soon
const { showLesson } = await import(`./lessons/${transport}.js`);

const query = new URLSearchParams(location.search);
const room = query.get("room") || "lobby";
const name = chooseName(query.get("name"));
const client = takeClient();

byId("name").value = name;
byId("room").value = room;
document.title = `${document.title} · ${room}`;

const log = new Log(byId("log"), byId("messages"), client);
const connection = new Connection(room, {
  transport, client, name, setting, onEvent, onState, onTransports, onSent: showUnsent,
  locate: false, // the transport itself asks for the history: that is what the page shows
});

// --- the connection ------------------------------------------------------------------------------

let isReady = false; // to connect
// Another port with simulated network conditions, or undefined.
let base;

/** Connect with the present choices, or continue with them at the same cursor. */
function reconnect() {
  if (!isReady) return;
  const encoding = byId("encoding").value || undefined;
  if (encoding === "dcz") loadDictionary();
  connection.reconnect({ base, trace: tap.secret, encoding });
}

// A browser that knows RFC 9842 keeps it, and offers it with the requests that follow: perhaps not yet with
// the next one, which is then answered with plain zstd.
function loadDictionary() {
  fetch(new URL("dictionary", ROOT)).catch(() => {});
}

function showMissing(why) {
  onState("unavailable");
  byId("text").disabled = byId("send").disabled = true;
  document.querySelector(".top").append(el("p", "notice", why));
}

function setting(id) {
  return byId(id).type === "checkbox" ? byId(id).checked : byId(id).value;
}

// Where a library chooses the transport, it reports those it has used.
function onTransports(transports) {
  byId("ways-taken").textContent = transports.join(" → ");
}

function onEvent(event) {
  if (!connection.unsent.length) endPassingError();
  log.show(event);
  if (event.kind !== "say") refreshMembers();
  // Another page has ended our lease, perhaps a duplicate of this tab.  Reconnecting renews it.
  if (event.kind === "quit" && event.client === client && log.isLive(event)) reconnect();
}

// --- the state line ------------------------------------------------------------------------------

let countdown;

function onState(state, { seconds, error } = {}) {
  clearInterval(countdown);
  byId("state").dataset.state = state;
  byId("state-text").textContent = stateText(state, seconds, error);
  byId("countdown").textContent = "";
  if (state === "waiting" && seconds !== undefined) countDown(Date.now() + seconds * 1000);
  if (state === "open") {
    endPassingError();
    refreshMembers();
  }
}

function stateText(state, seconds, error) {
  if (state === "connecting") return t("chat.state.connecting");
  if (state === "open") return t("chat.state.open");
  if (state === "unavailable") return t("chat.state.unavailable");
  if (state === "refused") return t("chat.state.refused", { why: explain(error) });
  if (seconds === undefined) return t("chat.state.browser");
  return t("chat.state.waiting", { why: error ? explain(error) : t("chat.state.ended") });
}

// Hidden from screen readers, which would read each second aloud.
function countDown(until) {
  const show = () => {
    const left = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    byId("countdown").textContent = t("chat.state.countdown", { seconds: left });
  };
  show();
  countdown = setInterval(show, 500);
}

// --- the members ---------------------------------------------------------------------------------

// ms after the first change, and between two requests.
const MEMBERS_DELAY = 200;
const MEMBERS_INTERVAL = 1_000;
// More names than anybody reads; a browser takes some milliseconds to draw them.
const MAX_MEMBERS = 200;

let refresh;
let isReading = false;
let changed = false; // while we read
let refreshedAt = -Infinity; // by performance.now()

// A class that joins together causes one request, not thirty; and one that never stops to join, one per
// second.
function refreshMembers() {
  if (isReading) {
    changed = true;
    return;
  }
  const wait = Math.max(MEMBERS_DELAY, refreshedAt + MEMBERS_INTERVAL - performance.now());
  refresh ??= setTimeout(showMembers, wait);
}

async function showMembers() {
  refreshedAt = performance.now();
  refresh = undefined;
  isReading = true;
  changed = false;
  try {
    // `total` is sent only where more members follow.
    const { members, total } = await requestJSON(roomUrl(room, "members", { limit: MAX_MEMBERS }));
    byId("member-count").textContent = number(total ?? members.length);
    const more = total ? [el("li", "small", t("chat.more_members", { count: number(total - members.length) }))] : [];
    byId("members").replaceChildren(...members.map(memberLine), ...more);
  } catch {
    // The list stays as it was; the state line shows the error.
  } finally {
    isReading = false;
    if (changed) refreshMembers();
  }
}

function memberLine(member) {
  const line = el("li", "", person(member.name), " ", transportLabel(member.via));
  line.dataset.client = member.client;
  if (member.client === client) line.append(" ", t("chat.you"));
  return line;
}

// --- sending -------------------------------------------------------------------------------------

byId("say").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const text = byId("text").value;
  byId("text").value = "";
  connection.send(text);
});

const ERROR_TIME = 10_000; // ms
let errorEnd; // a timer

function showUnsent(message, state, error) {
  log.showUnsent(message, state, error);
  if (error) showError(error, state === "pending");
  else if (state === "accepted") byId("error").replaceChildren();
}

// An error passes when its message will be sent again.
function showError(error, passes) {
  // The server's own message is English, and more exact than our translation of its code; where we have
  // none, ours contains it.
  const [text, { message }] = [explain(error), error];
  const more = error.reason || text.includes(message) ? [] : [" ", el("q", { lang: "en" }, message)];
  byId("error").replaceChildren(text, ...more);
  // What refused it may be lifted, such as a mute, and nobody says so; the line of the message keeps the error.
  clearTimeout(errorEnd);
  if (!passes) errorEnd = setTimeout(() => byId("error").replaceChildren(), ERROR_TIME);
  byId("error").toggleAttribute("data-passing", passes);
}

function endPassingError() {
  if (byId("error").hasAttribute("data-passing")) byId("error").replaceChildren();
}

// --- opening and closing the page ----------------------------------------------------------------

const unsent = `unsent ${room}`;

function open() {
  isReady = true;
  reconnect();
  (take(unsent) ?? []).forEach((message) => connection.resend(message));
}

addEventListener("pagehide", () => {
  saveClient(client);
  save(unsent, connection.unsent);
});
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  // Restored from the back/forward cache with all its state, so the saved copy is removed.
  take("secret");
  take(unsent);
});

byId("who").addEventListener("submit", (submit) => {
  submit.preventDefault();
  rememberName(byId("name").value);
  const lang = query.has("lang") ? { lang: language } : {};
  location.search = new URLSearchParams({ room: byId("room").value, ...lang });
});

byId("encoding").value = query.get("encoding") ?? "";
if (byId("encoding").selectedIndex < 0) byId("encoding").value = "";
byId("encoding").addEventListener("change", () => {
  const url = new URL(location);
  url.searchParams.delete("encoding");
  if (byId("encoding").value) url.searchParams.set("encoding", byId("encoding").value);
  history.replaceState(history.state, "", url);
});
document.querySelectorAll(".setting").forEach((input) => input.addEventListener("change", reconnect));

// --- the other parts of the page -----------------------------------------------------------------

const tap = await openTap();
const { links } = showTraffic({ sequence: byId("sequence"), wire: byId("wire"), tools: byId("player") }, tap);
log.link(links);
showViewTabs(() => links.refresh());
showLesson(byId("lesson"), { tap, room, client, setting, reconnect });
showExercises(byId("exercises"), transport);
showStudyTabs();
networkControl(byId("network"), (chosen) => {
  base = chosen;
  reconnect();
});

const why = await missing;
if (why) showMissing(why);
else open();
