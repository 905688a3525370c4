// Moderation of the class's room, with the lecturer's key: mute, remove and readmit clients, lock the room.
// The server keeps the rules (`/rooms/ROOM/rules`); this page shows them, and the members.

import { request, requestJSON, ROOT, roomUrl } from "../api.js";
import { el } from "../dom.js";
import { explain, t, translate } from "../i18n.js";
import { person } from "../log.js";
import { transportLabel } from "../page_layout.js";

const REFRESH_INTERVAL = 3_000; // ms
const MAX_MEMBERS = 200;

const PANEL = `
  <h2 data-i18n="lecturer.moderate">Moderate the room</h2>
  <p data-i18n="lecturer.moderate_why">These rules hold at once, for everybody in this room, and until you lift them. A client who was removed can return under a new id: lock the room first, then only those who are in it stay and return.</p>
  <p class="line">
    <button type="button" data-rule="locked" data-i18n="lecturer.lock">Lock the room</button>
    <button type="button" data-rule="muted/*" data-i18n="lecturer.mute_all">Mute everybody</button>
    <button type="button" data-rule="approval" data-i18n="lecturer.approval">Approve each name</button>
    <span role="status"></span>
  </p>
  <div data-part="waiting">
    <h3 data-i18n="lecturer.who_waits">Names that wait for approval</h3>
    <ul data-part="wanted"></ul>
  </div>
  <h3 data-i18n="lecturer.who">Who is here</h3>
  <ul data-part="members"></ul>
  <h3 data-i18n="lecturer.who_removed">Removed</h3>
  <ul data-part="removed"></ul>`;

/** Fill `section` with the panel of `room`; without a key, or where nobody moderates, say so. */
export async function showModeration(section, room, key) {
  const url = (path) => roomUrl(room, `rules${path}`, { key });
  const names = new Map(); // client: the name under which it was seen last
  let rules;

  if (!key) return;
  section.innerHTML = PANEL;
  translate(section);
  section.hidden = false;
  const { access } = await requestJSON(new URL("lab", ROOT)).catch(() => ({}));
  if (access === "open") {
    section.replaceChildren(section.querySelector("h2"), el("p", "", t("lecturer.moderate_open")));
    return;
  }
  const status = section.querySelector("[role=status]");
  const part = (name) => section.querySelector(`[data-part="${name}"]`);
  const isSet = (rule, client) => rules[rule].includes(client);

  async function change(rule, on) {
    try {
      await request(url(`/${rule}`), { method: on ? "PUT" : "DELETE" });
      await refresh();
    } catch (error) {
      status.textContent = explain(error);
    }
  }

  async function refresh() {
    try {
      const list = requestJSON(roomUrl(room, "members", { limit: MAX_MEMBERS }));
      rules = await requestJSON(url(""));
      show((await list).members);
      status.textContent = "";
    } catch (error) {
      status.textContent = explain(error);
    }
  }

  function show(members) {
    const focused = document.activeElement?.dataset?.rule;
    for (const { client, name } of members) names.set(client, name);
    const lines = members.map(memberLine);
    part("members").replaceChildren(...(lines.length ? lines : [el("li", "", t("lecturer.nobody"))]));
    part("waiting").hidden = !rules.approval;
    part("wanted").replaceChildren(...rules.wanted.map(wantedLine));
    part("removed").replaceChildren(...rules.removed.map(removedLine));
    setPressed(section.querySelector('[data-rule="locked"]'), rules.locked);
    setPressed(section.querySelector('[data-rule="approval"]'), rules.approval);
    setPressed(section.querySelector('[data-rule="muted/*"]'), isSet("muted", "*"));
    // The lists are new elements: a keyboard stays where it was.
    if (focused) section.querySelector(`[data-rule="${CSS.escape(focused)}"]`)?.focus();
  }

  function memberLine({ client, name, via }) {
    const mute = button(`muted/${client}`, "mute", name);
    setPressed(mute, isSet("muted", client));
    return el("li", "line", person(name), transportLabel(via), mute, button(`removed/${client}`, "remove", name));
  }

  function removedLine(client) {
    const name = names.get(client) ?? client;
    return el("li", "line", person(name), lifting(button(`removed/${client}`, "readmit", name)));
  }

  function wantedLine(name) {
    const rule = `names/${encodeURIComponent(name)}`;
    return el("li", "line", person(name), button(rule, "approve", name), lifting(button(rule, "refuse", name)));
  }

  section.addEventListener("click", ({ target }) => {
    if (target.dataset.rule) change(target.dataset.rule, !target.hasAttribute("data-on"));
  });
  refresh();
  setInterval(() => { if (!document.hidden) refresh(); }, REFRESH_INTERVAL);
}

function button(rule, what, name) {
  const made = el("button", { type: "button" }, t(`lecturer.${what}`));
  made.setAttribute("aria-label", t(`lecturer.${what}_name`, { name }));
  made.dataset.rule = rule;
  return made;
}

/** A button that lifts a rule, and never sets it. */
function lifting(button) {
  button.setAttribute("data-on", "");
  return button;
}

// A click on a button that is on lifts its rule.
function setPressed(button, on) {
  button.toggleAttribute("data-on", on);
  button.setAttribute("aria-pressed", on);
}
