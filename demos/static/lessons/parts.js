// What the lessons have in common: a section from a template, small elements, a few statistics, and
// drawing that waits for the screen.

import { askJSON } from "../ask.js";
import { make } from "../make.js";
import { post, uuid } from "../send.js";
import { t, translate } from "../words.js";

/** Fill a lesson's section from our own markup, in the language of the page. */
export function fillLesson(section, html) {
  section.classList.add("lesson");
  section.innerHTML = html;
  translate(section);
  return (name) => section.querySelector(`[data-part="${name}"]`);
}

/** A row of a table; the first cell is its head. */
export function row(first, ...cells) {
  const head = make("th", "", first);
  head.scope = "row";
  return make("tr", "", head, ...cells.map((cell) => make("td", "", cell)));
}

export function svg(tag, attributes = {}, ...content) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...content);
  return made;
}

/** Draw once for all that happened before the next frame; a hidden tab has no frames. */
export function drawer(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
}

/** Put `one` at the end of `list`, which never grows longer than `most`. */
export function keep(list, one, most) {
  list.push(one);
  if (list.length > most) list.splice(0, list.length - most);
}

/** The value below which the fraction `q` of all lies. */
export function quantile(values, q) {
  if (!values.length) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

export function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : undefined;
}

export function hex(byte) {
  return byte.toString(16).padStart(2, "0");
}

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A button that says of itself that it is at work, and cannot be pressed twice. */
export function whilePressed(button, work) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await work();
    } finally {
      button.disabled = false;
    }
  });
}

/** A network of our own for an experiment; undefined where the server lends none. */
export async function borrowNetwork(text) {
  const url = new URL("/networks", location);
  url.searchParams.set("network", text);
  const response = await fetch(url, { method: "POST" }).catch(() => undefined);
  if (!response?.ok) return undefined;
  const { id, port } = await response.json();
  return {
    base: `http://${location.hostname}:${port}/`,
    unplug: (seconds) => fetch(`/networks/${id}/unplug?seconds=${seconds}`, { method: "POST" }),
    giveBack: () => fetch(`/networks/${id}`, { method: "DELETE", keepalive: true }).catch(() => {}),
  };
}

/** Leave a button to be pressed only where there are networks to borrow; else `note` says so. */
export async function needNetworks(button, note) {
  button.disabled = true;
  const { networks = 0 } = await askJSON(new URL("/lab", location)).catch(() => ({}));
  button.disabled = !networks;
  if (!networks) note.append(make("span", "small", t("lesson.no-networks")));
}

/** Why an experiment did not come about. */
export function excuse(trouble) {
  return t("lesson.failed", { why: trouble.message });
}

/** Somebody else in the room: what it says comes straight to the server, by no bad network. */
export function stranger(room) {
  const client = uuid();
  function say(text, via) {
    const message = { id: uuid(), client, name: t("lesson.stranger"), text, via, sent: Date.now() };
    return { id: message.id, said: post(room, message) };
  }
  return { client, say };
}
