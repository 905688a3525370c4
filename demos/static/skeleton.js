// What all transport pages have in common, written once: the way round, the chat, the foot.
// The text is constant and our own; what people say is put in elsewhere, as text and never as markup.

import { askJSON } from "./ask.js";

export const TRANSPORTS = [
  "short_polling", "long_polling", "iframe_streaming", "sse", "fetch_streaming", "websocket",
];

const CHAT = `
  <h2 id="chat-title">Chat</h2>
  <form id="who" autocomplete="off">
    <label>Name <input id="name" maxlength="32" required></label>
    <label>Room <input id="room" maxlength="64" required></label>
    <button id="join" type="submit">Join</button>
  </form>
  <p id="state" role="status"><span id="state-text"></span> <span id="countdown" aria-hidden="true"></span></p>
  <div id="log" role="log" aria-label="Messages" tabindex="0"><ol id="messages"></ol></div>
  <p id="error" role="alert"></p>
  <form id="say" autocomplete="off">
    <input id="text" aria-label="Message" placeholder="Say something" maxlength="20000" required>
    <button id="send" type="submit">Send</button>
  </form>
  <section id="people" aria-labelledby="people-title">
    <h3 id="people-title">In this room: <span id="member-count">0</span></h3>
    <ul id="members"></ul>
  </section>
  <p class="small">The milliseconds beside a message: <b>sent→shown</b> for your own, both on this
  machine's clock; <b>published→shown</b> for the others', from the hub's clock to this machine's.
  Clocks of different machines differ, so the second is exact only where the server runs on this
  machine.</p>`;

/** Fill the empty parts of a page; `search` carries room and name to the other transports. */
export function fillPage(transport, search) {
  document.getElementById("ways").append(...TRANSPORTS.map((way) => wayTo(way, transport, search)));
  document.getElementById("chat").innerHTML = CHAT;
  for (const id of ["network", "sequence", "wire", "lesson"]) {
    const part = document.createElement("section");
    part.id = id;
    document.querySelector("main").append(part);
  }
  fillFoot();
}

export function transportLabel(transport) {
  const label = document.createElement("span");
  label.className = "way";
  label.dataset.via = transport;
  label.textContent = transport;
  return label;
}

function wayTo(way, here, search) {
  const link = document.createElement("a");
  link.href = `/demos/${way}.html${search}`;
  if (way === here) link.setAttribute("aria-current", "page");
  link.append(transportLabel(way));
  return link;
}

/** Say which hub is in use, and why: what is measured here depends on it. */
export async function fillFoot() {
  const foot = document.getElementById("hub");
  try {
    const { hub, version } = await askJSON(new URL("/healthz", location));
    foot.textContent = `Hub: ${hub}. realtime ${version}.`;
  } catch {
    foot.textContent = "The server does not answer.";
  }
}
