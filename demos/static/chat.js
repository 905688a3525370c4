// The page: who, where, what was said, who is there.  It knows no transport: the one that <body>
// names is imported, and all it must offer is `connect(room, options) → {send, close}`.

import { address, askJSON, Trouble } from "./ask.js";
import { showExercises } from "./exercises.js";
import { Log, person } from "./log.js";
import { chooseName, leave, rememberName, take, takeClient } from "./luggage.js";
import { networkControl } from "./networks.js";
import { Outbox } from "./outbox.js";
import { uuid } from "./send.js";
import { fillPage, inside, transportLabel } from "./skeleton.js";
import { showSequence } from "./wire/sequence.js";
import { openTap } from "./wire/tap.js";
import { showWire } from "./wire/view.js";
import { language, t } from "./words.js";

const at = (id) => document.getElementById(id);
const transport = document.body.dataset.transport;
fillPage();
const { connect } = await import(`./transports/${transport}.js`);
const { showLesson } = await import(`./lessons/${transport}.js`);

const asked = new URLSearchParams(location.search);
const room = asked.get("room") || "lobby";
const name = chooseName(asked.get("name"));
const client = takeClient();

at("name").value = name;
at("room").value = room;
document.title = `${document.title} · ${room}`;

const log = new Log(at("log"), at("messages"), client);
const outbox = new Outbox(send, showUnsent);

// --- the connection ------------------------------------------------------------------------------

// Both outlive a connection: where we are in the room, and what was shown of it.
let cursor;
const shown = new Set();
let connection;
// By which way: another port with a bad network behind it, or none.
let base;

function begin() {
  const trace = tap.secret;
  connection = connect(room, {
    after: cursor, shown, client, name, base, trace, knob, onEvent, onState, onWays,
  });
}

function end() {
  connection?.close();
  connection = undefined;
}

/** Go on by another connection from where this one was. */
function beginAgain() {
  end();
  begin();
}

function knob(id) {
  return at(id).type === "checkbox" ? at(id).checked : at(id).value;
}

// Where a library chooses the way, it tells which it has taken, and which before.
function onWays(ways) {
  at("ways-taken").textContent = ways.join(" → ");
}

async function send(message) {
  if (!connection) throw new Trouble("network", t("trouble.no_connection"));
  return connection.send(message);
}

function onEvent(event) {
  cursor = event.cursor;
  outbox.settle(event.id);
  log.show(event);
  if (event.kind !== "say") refreshMembers();
  // Somebody took our lease away, a duplicate of this tab perhaps; but here we are.
  if (event.kind === "quit" && event.client === client && log.isLive(event)) beginAgain();
}

// --- the state line ------------------------------------------------------------------------------

let countdown;

function onState(state, { seconds, trouble } = {}) {
  clearInterval(countdown);
  at("state").dataset.state = state;
  at("state-text").textContent = stateText(state, seconds, trouble);
  at("countdown").textContent = "";
  if (state === "waiting" && seconds !== undefined) countDown(Date.now() + seconds * 1000);
  if (state === "open") {
    outbox.wake();
    refreshMembers();
  }
}

function stateText(state, seconds, trouble) {
  if (state === "connecting") return t("chat.state.connecting");
  if (state === "open") return t("chat.state.open");
  if (state === "refused") return t("chat.state.refused", { why: trouble.message });
  if (seconds === undefined) return t("chat.state.browser");
  return t("chat.state.waiting", { why: trouble?.message ?? t("chat.state.ended") });
}

// Not read aloud: a screen reader would count along.
function countDown(until) {
  const show = () => {
    const left = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    at("countdown").textContent = t("chat.state.countdown", { seconds: left });
  };
  show();
  countdown = setInterval(show, 500);
}

// --- the members ---------------------------------------------------------------------------------

let refresh;

// A class that arrives together is one question, not thirty.
function refreshMembers() {
  clearTimeout(refresh);
  refresh = setTimeout(showMembers, 200);
}

async function showMembers() {
  let members;
  try {
    ({ members } = await askJSON(address(room, "members")));
  } catch {
    return; // the list stays as it was; the state line tells of the trouble
  }
  at("member-count").textContent = members.length;
  at("members").replaceChildren(...members.map(memberLine));
}

function memberLine(member) {
  const line = document.createElement("li");
  line.dataset.client = member.client;
  line.append(person(member.name), " ", transportLabel(member.via));
  if (member.client === client) line.append(" ", t("chat.you"));
  return line;
}

// --- saying something ----------------------------------------------------------------------------

at("say").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const text = at("text").value;
  at("text").value = "";
  outbox.add({ id: uuid(), client, name, text, via: transport, sent: Date.now() });
});

function showUnsent(message, state, trouble) {
  log.showUnsent(message, state, trouble);
  if (trouble) at("error").replaceChildren(trouble.message, " ", quote(trouble.said ?? ""));
  else if (state === "accepted") at("error").textContent = "";
}

// The server speaks English, and more exactly than a sentence made for its code.
function quote(said) {
  const quoted = document.createElement("q");
  quoted.lang = "en";
  quoted.textContent = said;
  return said ? quoted : "";
}

// --- coming and going ----------------------------------------------------------------------------

const unsent = `unsent ${room}`;

function arrive() {
  begin();
  (take(unsent) ?? []).forEach((message) => outbox.add(message));
}

function depart() {
  end();
  leave("client", client);
  leave(unsent, outbox.messages);
  // The quit is said after a grace, so that a reload, which comes back as the same client, is none.
  const url = address(room, `members/${client}`);
  fetch(url, { method: "DELETE", keepalive: true }).catch(() => {});
}

addEventListener("pagehide", depart);
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  // Back from the browser's own memory, with all we knew; what we left for a successor is ours.
  take("client");
  take(unsent);
  begin();
});

at("who").addEventListener("submit", (submit) => {
  submit.preventDefault();
  rememberName(at("name").value);
  const lang = asked.has("lang") ? { lang: language } : {};
  location.search = new URLSearchParams({ room: at("room").value, ...lang });
});

document.querySelectorAll(".knob").forEach((input) => input.addEventListener("change", beginAgain));

// --- what can be seen ----------------------------------------------------------------------------

const tap = await openTap();
showSequence(inside("sequence"), tap);
showWire(inside("wire"), tap);
showLesson(inside("lesson"), { tap, room, client, knob, beginAgain });
showExercises(inside("exercises"), transport);
networkControl(inside("network"), (chosen) => {
  base = chosen;
  beginAgain();
});

arrive();
