// The list of messages in the order of the room, followed by our own that are not yet delivered.
// Texts and names of other people go in as text, each in a <bdi>: a right-to-left name must not
// change the direction of its line.

import { el } from "./dom.js";
import { FollowingBox } from "./following_box.js";
import { explain, number, parts, t, time } from "./i18n.js";
import { transportLabel } from "./page_layout.js";

// A page that is open all day must not grow all day.
const MAX_LINES = 500;
// Lines drawn in one frame.  Each costs a part of a millisecond, and input must be handled in between,
// however many events arrive.
const MAX_DRAWN = 20;
// ms after the first event in which the history arrives, whatever the clocks of other machines show.
const HISTORY_TIME = 2000;
// A refused message keeps its place: it is no longer on its way.
const UNSENT = "[data-state=pending], [data-state=accepted]";

const PRESENCE = { join: "chat.joined", quit: "chat.quit" };

const GAPS = {
  trimmed: "chat.gap.trimmed",
  rewound: "chat.gap.rewound",
  unknown: "chat.gap.unknown",
};

export class Log {
  #box;
  #scroll;
  #list;
  #client;
  #openedAt = Date.now();
  #firstEventAt;
  #lines = new Map(); // id: the line of a message or an event
  #waiting = []; // events, each with its line's delay, until the next frame
  #frame;

  constructor(box, list, client) {
    this.#box = box;
    this.#scroll = new FollowingBox(box);
    this.#list = list;
    this.#client = client;
  }

  /** Show an event in the next frame: after all others, before our undelivered messages. */
  show(event) {
    this.#firstEventAt ??= Date.now();
    // The delay is that of the transport, without the wait for the frame.
    this.#waiting.push({ event, delay: event.kind === "say" ? this.#delayText(event) : undefined });
    // It would be drawn and at once removed, since newer ones fill the list.
    if (this.#waiting.length > MAX_LINES) this.#remove(this.#waiting.shift().event.id);
    this.#drawSoon();
  }

  #drawSoon() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      this.#draw();
      if (this.#waiting.length) this.#drawSoon();
    });
  }

  // One insertion for all lines of a frame: each would make the browser lay out the page again.
  #draw() {
    const lines = document.createDocumentFragment();
    for (const { event, delay } of this.#waiting.splice(0, MAX_DRAWN)) {
      this.#remove(event.id);
      lines.append(this.#line(event, delay));
    }
    this.#list.insertBefore(lines, this.#list.querySelector(UNSENT));
    while (this.#list.childElementCount > MAX_LINES) {
      const first = this.#list.firstElementChild;
      this.#lines.delete(first.dataset.id);
      first.remove();
    }
    this.#scroll.follow();
  }

  #line(event, delay) {
    const line = el("li", { className: event.kind, tabIndex: -1 });
    line.dataset.kind = event.kind;
    line.dataset.cursor = event.cursor;
    if (event.id) {
      line.dataset.id = event.id;
      this.#lines.set(event.id, line);
    }
    if (event.kind === "say") line.append(...message(event, delay));
    else if (event.kind === "gap") line.append(gapText(event));
    else line.append(...presenceParts(event));
    return line;
  }

  #remove(id) {
    this.#lines.get(id)?.remove();
    this.#lines.delete(id);
  }

  /** Show the state of our own message: pending, accepted or refused. */
  showUnsent(message, state, error) {
    let line = this.#lines.get(message.id);
    if (line && !line.dataset.state) return; // delivered already
    if (this.#waiting.some(({ event }) => event.id === message.id)) return; // and not drawn yet
    line ??= this.#list.appendChild(this.#unsent(message));
    line.dataset.state = state;
    line.querySelector(".delay").textContent = stateText(state, error);
    this.#scroll.follow();
  }

  /** Whether an event happened after this page was opened, even if our clock is ahead of the server's. */
  isLive(event) {
    return event.published >= this.#openedAt || Date.now() > this.#firstEventAt + HISTORY_TIME;
  }

  /** Mark the messages whose bytes another view selects, and let a message select its own. */
  link(links) {
    const keysOf = (line) => [line.dataset.id, line.dataset.cursor].filter(Boolean);
    const lineAt = (target) => target.closest("#messages > li");
    let hovered;
    const hover = ({ type, target }) => {
      const line = type === "pointerleave" ? undefined : lineAt(target);
      if (line === hovered) return;
      hovered = line;
      links.hover(this, line && { keys: keysOf(line) });
    };
    this.#box.addEventListener("pointerover", hover);
    this.#box.addEventListener("pointerleave", hover);
    this.#list.addEventListener("focusin", ({ target }) => links.select(this, { keys: keysOf(target) }));
    this.#box.addEventListener("keydown", (press) => this.#key(press));
    links.on(({ source, keys }) => {
      const lines = [...this.#list.children];
      for (const line of lines) line.classList.toggle("linked", keysOf(line).some((key) => keys.has(key)));
      const marked = lines.find((line) => line.classList.contains("linked"));
      if (marked) this.#scroll.hold(source === this ? undefined : marked);
      else this.#scroll.release();
    });
  }

  // The messages are one tab stop: up and down move between them.
  #key(press) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[press.key];
    const lines = [...this.#list.children];
    if (!step || !lines.length) return;
    press.preventDefault();
    const current = lines.indexOf(document.activeElement);
    (current < 0 ? lines.at(-1) : lines[current + step])?.focus();
  }

  #unsent(message) {
    const { id, name, via, text } = message;
    const head = el("p", "head", person(name), " ", transportLabel(via), " ", el("span", "delay"));
    const line = el("li", { className: "say", tabIndex: -1 }, head, textParagraph(text));
    Object.assign(line.dataset, { kind: "say", id });
    this.#lines.set(id, line);
    return line;
  }

  #delayText(event) {
    const mine = event.client === this.#client;
    if (!this.isLive(event)) return t("chat.delay.before", { time: time(event.published) });
    if (mine && event.sent !== null) {
      return t("chat.delay.own", { delay: milliseconds(Date.now() - event.sent) });
    }
    return t("chat.delay.others", { delay: milliseconds(Date.now() - event.published) });
  }

}

// An experiment's messages have no client.  Only the holder of the lecturer's key sends by this name.
function sender({ name, via }) {
  if (via === "lecturer") return [person(name ?? t("chat.experiment"))];
  return [person(name), " ", transportLabel(via)];
}

export function person(name) {
  return el("bdi", "name", name ?? t("chat.somebody"));
}

function message(event, delay) {
  const head = el("p", "head", ...sender(event), " ", el("span", "delay", delay));
  return [head, textParagraph(event.text)];
}

function textParagraph(text) {
  return el("p", "text", el("bdi", "", text));
}

function presenceParts({ kind, name, via }) {
  return parts(PRESENCE[kind], { name: person(name), via: transportLabel(via) });
}

/** The line of a gap: what a reader has missed, and why. */
export function gapText({ reason, missed }) {
  const why = t(GAPS[reason] ?? "chat.gap.other");
  if (missed === null) return t("chat.gap.uncounted", { reason, why });
  return t("chat.gap", { reason, count: t("chat.gap.count", { missed: number(missed) }), why });
}

function stateText(state, error) {
  if (state === "accepted") return t("chat.unsent.accepted");
  if (state === "refused") return t("chat.unsent.refused", { why: explain(error) });
  return error ? t("chat.unsent.again", { why: explain(error) }) : t("chat.unsent.pending");
}

function milliseconds(ms) {
  const rounded = number(Math.round(ms));
  if (ms < 0) return t("chat.ms_clocks", { ms: rounded });
  return ms < 1 ? t("chat.ms_little") : t("chat.ms", { ms: rounded });
}
