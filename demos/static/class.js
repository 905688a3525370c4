// The page of a phone in class: it takes a seat, which decides its transport, and obeys the lecturer.
//
//   POST ROOM.seats ─▶ number n ─▶ transport n of the command's list, in turn
//   ROOM.class ─▶ the last command: {room, transports, port, run}.  Only the lecturer can publish there.

import { ROOT } from "./api.js";
import { EXPERIMENTS } from "./classroom/lesson.js";
import { RunReport } from "./classroom/run_report.js";
import { classRooms, parseText } from "./classroom/rooms.js";
import { clockOffset, takeSeat } from "./classroom/seat.js";
import { VoteForm } from "./classroom/vote_form.js";
import { Connection } from "./client.js";
import { byId } from "./dom.js";
import { explain, t } from "./i18n.js";
import { Log } from "./log.js";
import { TCP_TRANSPORTS, transportLabel } from "./page_layout.js";
import { chooseName, saveClient, takeClient } from "./tab_state.js";
import { connect as connectControl } from "./transports/websocket.js";

const SETTLE = 50; // ms: the commands before the last one arrive together
const RETRY = 5000;
const ERROR_TIME = 10_000;
const LOCKED_OUT = ["removed", "room_locked"];
// All phones reconnect after a disconnection, but not in one instant.
const JITTER = 1000;

const query = new URLSearchParams(location.search);
const home = query.get("room") || "lobby";
const rooms = classRooms(home);
const client = takeClient();
const name = chooseName(query.get("name"));

byId("room-name").textContent = home;
document.title = `${document.title} · ${home}`;

const log = new Log(byId("log"), byId("messages"), client);
// The libraries may use all of their transports.
const connection = new Connection(home, {
  client, name, onEvent, onState,
  locate: false, // thirty phones join at once
  onSent(message, state, error) {
    log.showUnsent(message, state, error);
    showError(error && explain(error));
  },
});

let errorEnd; // a timer

// What refused a message may be lifted, such as a mute, and nobody says so to a phone: the error passes.  The
// line of the message keeps it.
function showError(text = "") {
  clearTimeout(errorEnd);
  byId("error").textContent = text;
  if (text) errorEnd = setTimeout(showError, ERROR_TIME);
}

// --- the connection --------------------------------------------------------------------------------

let seat; // a number
let clockAhead; // ms
let order = { room: home, transports: TCP_TRANSPORTS };
let wanted; // {room, transport, port}, as text: what we are connected to
let isConnected = false; // or trying to
let offlineUntil = 0; // by our clock

function follow() {
  const { room, port } = order;
  const transport = order.transports[seat % order.transports.length];
  const next = JSON.stringify({ room, transport, port });
  if (next === wanted) return;
  wanted = next;
  disconnect();
  byId("transport").replaceChildren(transportLabel(transport));
  open(next);
}

function open(plan) {
  if (plan !== wanted || isConnected || Date.now() < offlineUntil) return; // there is a newer command
  isConnected = true;
  const { room, transport, port } = JSON.parse(plan);
  connection.reconnect({ room, transport, base: baseAt(port) });
}

function disconnect() {
  connection.disconnect();
  isConnected = false;
}

function baseAt(port) {
  if (!port) return undefined;
  const base = new URL(ROOT);
  base.port = port;
  return base;
}

function onEvent(event) {
  log.show(event);
  if (event.kind === "say") report?.count(event);
  if (event.kind === "gap") report?.countGap();
}

function onState(state, { error } = {}) {
  byId("state").dataset.state = state;
  const why = error ? explain(error) : t("chat.state.ended");
  const texts = { waiting: "chat.state.waiting", refused: "chat.state.refused" };
  byId("state-text").textContent = texts[state] ? t(texts[state], { why }) : t(`chat.state.${state}`);
  // The lecturer may let a phone in again.
  if (state === "refused" && LOCKED_OUT.includes(error?.code)) setTimeout(retry, RETRY, wanted);
}

function retry(plan) {
  if (plan !== wanted) return;
  disconnect();
  open(plan);
}

byId("say").addEventListener("submit", (submit) => {
  submit.preventDefault();
  connection.send(byId("text").value);
  byId("text").value = "";
});

// --- commands --------------------------------------------------------------------------------------

let last; // the last command, an event
let settling;
let report;
let noticeEnd; // a timer
const voteForm = new VoteForm(rooms.votes, client);

function onCommand(event) {
  if (event.kind !== "say") return;
  last = event;
  settling ??= setTimeout(obey, SETTLE);
}

function obey() {
  settling = undefined;
  const command = parseText(last);
  order = { ...order, ...command, port: command.port };
  const { run, vote } = command;
  voteForm.show(vote);
  if (run && report?.run !== run.id) start(run, last.published);
  follow();
}

function start(run, published) {
  report?.stop();
  report = new RunReport(rooms.reports, { client, run, now });
  showNotice(run);
  const { offline } = EXPERIMENTS[run.kind] ?? {};
  const left = offline ? published + offline * 1000 - now() : 0;
  if (left > 0) stayOffline(left);
}

function showNotice({ kind, at, seconds = 0 }) {
  const left = at + seconds * 1000 - now();
  clearTimeout(noticeEnd);
  byId("notice").textContent = kind === "live" || left <= 0 ? "" : t(`classroom.notice.${kind}`);
  if (left > 0) noticeEnd = setTimeout(() => { byId("notice").textContent = ""; }, left);
}

/** The server's clock. */
function now() {
  return Date.now() + clockAhead;
}

function stayOffline(left) {
  const wait = left + Math.random() * JITTER;
  offlineUntil = Date.now() + wait;
  disconnect();
  byId("state").dataset.state = "waiting";
  byId("state-text").textContent = t("classroom.phone.offline");
  setTimeout(() => open(wanted), wait + 1);
}

// --- opening and closing the page --------------------------------------------------------------------

addEventListener("pagehide", () => saveClient(client));
addEventListener("pageshow", ({ persisted }) => { if (persisted) location.reload(); });

async function enter() {
  try {
    seat = await takeSeat(rooms.seats, client);
    clockAhead = await clockOffset(rooms.reports, client);
  } catch (error) {
    showError(explain(error));
    return void setTimeout(enter, RETRY);
  }
  showError();
  connectControl(rooms.commands, { onEvent: onCommand, onState() {} });
  follow();
}

enter();
