// The chat page: name and room, messages, members.  It does not depend on a transport: it imports the one
// that <body> names, which exports `connect(room, options) → {send, close}`.

import { ApiError, requestJSON, ROOT, roomUrl } from "./api.js";
import { byId, el } from "./dom.js";
import { showExercises } from "./exercises.js";
import { language, number, t } from "./i18n.js";
import { secretOf } from "./identity.js";
import { Log, person } from "./log.js";
import { networkControl } from "./networks.js";
import { Outbox } from "./outbox.js";
import { transportLabel } from "./page_layout.js";
import { uuid } from "./publish.js";
import { chooseName, rememberName, save, saveClient, take, takeClient } from "./tab_state.js";
import { openTap } from "./wire/tap.js";
import { showTraffic } from "./wire/workspace.js";
import { fillPage, showStudyTabs, showViewTabs } from "./workspace_layout.js";

const transport = document.body.dataset.transport;
fillPage();
const { connect } = await import(`./transports/${transport}.js`);
const { showLesson } = await import(`./lessons/${transport}.js`);

const query = new URLSearchParams(location.search);
const room = query.get("room") || "lobby";
const name = chooseName(query.get("name"));
const client = takeClient();

byId("name").value = name;
byId("room").value = room;
document.title = `${document.title} · ${room}`;

const log = new Log(byId("log"), byId("messages"), client);
const outbox = new Outbox(send, showUnsent);

// --- the connection ------------------------------------------------------------------------------

// Both outlive a connection: our cursor in the room, and the ids we have shown.
let cursor;
const shown = new Set();
let connection;
// Another port with simulated network conditions, or undefined.
let base;

function start() {
  const trace = tap.secret;
  const encoding = byId("encoding").value || undefined;
  if (encoding === "dcz") loadDictionary();
  connection = connect(room, {
    after: cursor, shown, client, name, base, trace, encoding, setting, onEvent, onState, onTransports,
  });
}

// A browser that knows RFC 9842 keeps it, and offers it with the requests that follow: perhaps not yet with
// the next one, which is then answered with plain zstd.
function loadDictionary() {
  fetch(new URL("dictionary", ROOT)).catch(() => {});
}

function stop() {
  connection?.close();
  connection = undefined;
}

/** Continue at the same cursor over a new connection. */
function reconnect() {
  stop();
  start();
}

function setting(id) {
  return byId(id).type === "checkbox" ? byId(id).checked : byId(id).value;
}

// Where a library chooses the transport, it reports those it has used.
function onTransports(transports) {
  byId("ways-taken").textContent = transports.join(" → ");
}

async function send(message) {
  if (!connection) throw new ApiError("network", t("trouble.no_connection"));
  return connection.send(message);
}

function onEvent(event) {
  cursor = event.cursor;
  outbox.settle(event.id);
  if (!outbox.messages.length) endPassingError();
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
    outbox.wake();
    refreshMembers();
  }
}

function stateText(state, seconds, error) {
  if (state === "connecting") return t("chat.state.connecting");
  if (state === "open") return t("chat.state.open");
  if (state === "refused") return t("chat.state.refused", { why: error.message });
  if (seconds === undefined) return t("chat.state.browser");
  return t("chat.state.waiting", { why: error?.message ?? t("chat.state.ended") });
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
  outbox.add({ id: uuid(), client, name, text, via: transport, sent: Date.now() });
});

const ERROR_TIME = 10_000; // ms
let errorEnd; // a timer

function showUnsent(message, state, error) {
  log.showUnsent(message, state, error);
  if (error) showError(error, state === "pending");
  else if (state === "accepted") byId("error").replaceChildren();
}

// An error passes when its message will be sent again.
function showError({ message, serverMessage }, passes) {
  // The server's own message is English, and more exact than our translation of its code; where we have
  // none, ours contains it.
  const more = serverMessage && !message.includes(serverMessage);
  byId("error").replaceChildren(message, ...(more ? [" ", el("q", { lang: "en" }, serverMessage)] : []));
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
  start();
  (take(unsent) ?? []).forEach((message) => outbox.add(message));
}

function close() {
  stop();
  saveClient(client);
  save(unsent, outbox.messages);
  // The server announces the quit after a grace period, so a reload, which returns as the same client,
  // causes none.
  const url = roomUrl(room, `members/${client}`, { secret: secretOf(client) });
  fetch(url, { method: "DELETE", keepalive: true }).catch(() => {});
}

addEventListener("pagehide", close);
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  // Restored from the back/forward cache with all its state, so the saved copy is removed.
  take("secret");
  take(unsent);
  start();
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

open();
