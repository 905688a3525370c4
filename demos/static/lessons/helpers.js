// What the lessons share: a section from a template, table rows, a few statistics, a test user, and drawing
// once per animation frame.

import { requestJSON, ROOT, withSecret } from "../api.js";
import { el } from "../dom.js";
import { explain, t, translate } from "../i18n.js";
import { newClient, pageClient } from "../identity.js";
import { publish, uuid } from "../publish.js";
import { showTabs } from "../tabs.js";

/** Fill a lesson's section from our own markup; returns the function that finds its parts by name. */
export function fillLesson(section, html) {
  section.classList.add("lesson");
  section.innerHTML = html;
  translate(section);
  // A keyboard scrolls only what has the focus.
  for (const box of section.querySelectorAll(".scroll")) {
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", t("lesson.table"));
  }
  showParts(section);
  return (name) => section.querySelector(`[data-part="${name}"]`);
}

// A lesson with several headings has a tab for each, which shows what follows the heading.
function showParts(section) {
  if (section.querySelectorAll(":scope > :is(h2, h3)").length < 2) return;
  const parts = [];
  for (const node of [...section.children]) {
    if (node.matches("h2, h3")) parts.push([node.textContent, el("div")]);
    else parts.at(-1)[1].append(node);
  }
  const list = el("div", "tabs");
  list.setAttribute("aria-label", t("part.lesson"));
  section.replaceChildren(list, ...parts.map(([, panel]) => panel));
  showTabs(list, parts);
}

/** A row of a table; the first cell is its header. */
export function row(first, ...cells) {
  return el("tr", "", el("th", { scope: "row" }, first), ...cells.map((cell) => el("td", "", cell)));
}

/** Return a function that schedules `draw` for the next animation frame, once.  A hidden tab has none. */
export function oncePerFrame(draw) {
  let scheduled = false;
  return () => {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      draw();
    });
  };
}

/** Append `item` to `list`, and remove the oldest items above `limit`. */
export function pushBounded(list, item, limit) {
  list.push(item);
  if (list.length > limit) list.splice(0, list.length - limit);
}

/** The value below which the fraction `q` of all values lies. */
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

export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Run `action` at each click; the button is disabled while it runs. */
export function onClick(button, action) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await action();
    } finally {
      button.disabled = false;
    }
  });
}

/** Lease a proxy with network conditions for an experiment; undefined where the server has none. */
export async function leaseNetwork(conditions) {
  const url = new URL("networks", ROOT);
  url.search = new URLSearchParams(withSecret({ network: conditions, client: pageClient() }));
  const response = await fetch(url, { method: "POST" }).catch(() => undefined);
  if (!response?.ok) return undefined;
  const { id, port, udp } = await response.json();
  const base = new URL("/", location);
  base.port = port;
  return {
    base: base.href,
    udp, // whether it also forwards datagrams
    disconnect: (seconds) => fetch(`${url.pathname}/${id}/unplug?seconds=${seconds}`, { method: "POST" }),
    release: () => fetch(`${url.pathname}/${id}`, { method: "DELETE", keepalive: true }).catch(() => {}),
  };
}

/** Enable a button only where the server leases network conditions; otherwise `note` says why. */
export async function requireNetworks(button, note) {
  button.disabled = true;
  const { networks = 0 } = await requestJSON(new URL("lab", ROOT)).catch(() => ({}));
  button.disabled = !networks;
  if (!networks) note.append(el("span", "small", t("lesson.no-networks")));
}

/** The text that says why an experiment failed. */
export function failure(error) {
  return t("lesson.failed", { why: explain(error) });
}

/**
 * Another user in the room, who publishes directly to the server, without network conditions.  `send`
 * returns the message's id and the promise of its acknowledgement, `{id, done}`.
 */
export function testUser(room) {
  const client = newClient();
  function send(text, via) {
    const message = { id: uuid(), client, name: t("lesson.stranger"), text, via, sent: Date.now() };
    return { id: message.id, done: publish(room, message) };
  }
  return { client, send };
}
