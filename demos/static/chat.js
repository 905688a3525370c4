// The page: who, where, what was said, who is there.  It knows no transport: the one that <body>
// names is imported, and all it must offer is `connect(room, options) → {send, close}`.

import { address, askJSON, Trouble } from "./ask.js";
import { Log, person } from "./log.js";
import { chooseName, leave, rememberName, take, takeClient } from "./luggage.js";
import { networkControl } from "./networks.js";
import { Outbox } from "./outbox.js";
import { uuid } from "./send.js";
import { fillPage, transportLabel } from "./skeleton.js";
import { showSequence } from "./wire/sequence.js";
import { openTap } from "./wire/tap.js";
import { showWire } from "./wire/view.js";

const at = (id) => document.getElementById(id);
const transport = document.body.dataset.transport;
const { connect } = await import(`./transports/${transport}.js`);
const { showLesson } = await import(`./lessons/${transport}.js`);

const asked = new URLSearchParams(location.search);
const room = asked.get("room") || "lobby";
const name = chooseName(asked.get("name"));
const client = takeClient();

fillPage(transport, location.search);
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
    after: cursor, shown, client, name, base, trace, knob, onEvent, onState,
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
  return at(id).value;
}

async function send(message) {
  if (!connection) throw new Trouble("network", "There is no connection.");
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
  if (state === "connecting") return "Connecting";
  if (state === "open") return "Open";
  if (state === "refused") return `Refused: ${trouble.message}`;
  if (seconds === undefined) return "Waiting to reconnect: the browser does it by itself";
  return `${trouble?.message ?? "The connection ended."} Waiting to reconnect`;
}

// Not read aloud: a screen reader would count along.
function countDown(until) {
  const show = () => {
    at("countdown").textContent = `in ${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s`;
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
  if (member.client === client) line.append(" (you)");
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
  if (trouble) at("error").textContent = `${trouble.code}: ${trouble.message}`;
  else if (state === "accepted") at("error").textContent = "";
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
  location.search = new URLSearchParams({ room: at("room").value });
});

document.querySelectorAll(".knob").forEach((input) => input.addEventListener("change", beginAgain));

// --- what can be seen ----------------------------------------------------------------------------

const tap = await openTap();
showSequence(at("sequence"), tap);
showWire(at("wire"), tap);
showLesson(at("lesson"), { tap, room, client, knob, beginAgain });
networkControl(at("network"), (chosen) => {
  base = chosen;
  beginAgain();
});

arrive();
