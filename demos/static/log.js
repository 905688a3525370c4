// The list of what was said, in the order of the room, with what is not yet said below it.
// Words and names of other people go in as text, each in a <bdi>: a name from right to left must not
// turn the rest of its line around.

import { make } from "./make.js";
import { transportLabel } from "./skeleton.js";
import { number, parts, t, time } from "./words.js";

// A page that is open all day must not grow all day.
const LINES = 500;
// Within so many pixels of the end the reader is at the end, and stays there.
const NEAR = 40;
// What was said before us comes within so many ms of the first event, whatever the clocks say.
const GREETING = 2000;
// A refused message stays where it was: it is no longer on its way.
const UNSENT = "[data-state=pending], [data-state=accepted]";

const GOINGS = { join: "chat.joined", quit: "chat.quit" };

const GAPS = {
  trimmed: "chat.gap.trimmed",
  rewound: "chat.gap.rewound",
  unknown: "chat.gap.unknown",
};

export class Log {
  #box;
  #list;
  #client;
  #came = Date.now();
  #first;

  constructor(box, list, client) {
    this.#box = box;
    this.#list = list;
    this.#client = client;
  }

  /** Show an event where it stands in the room: after all others, before what is unsent. */
  show(event) {
    this.#first ??= Date.now();
    const line = make("li", event.kind);
    line.dataset.kind = event.kind;
    if (event.id) line.dataset.id = event.id;
    if (event.kind === "say") line.append(...this.#said(event));
    else if (event.kind === "gap") line.append(gapText(event));
    else line.append(...going(event));
    this.#keepAtEnd(() => {
      this.#find(event.id)?.remove();
      this.#list.insertBefore(line, this.#list.querySelector(UNSENT));
      while (this.#list.children.length > LINES) this.#list.firstElementChild.remove();
    });
  }

  /** Show how far a message of our own has come: pending, accepted or refused. */
  showUnsent(message, state, trouble) {
    let line = this.#find(message.id);
    if (line && !line.dataset.state) return; // read back already
    this.#keepAtEnd(() => {
      line ??= this.#list.appendChild(this.#unsent(message));
      line.dataset.state = state;
      line.querySelector(".delay").textContent = stateText(state, trouble);
    });
  }

  /** Say whether an event happened while we were here; a clock that is ahead may not hide it. */
  isLive(event) {
    return event.published >= this.#came || Date.now() > this.#first + GREETING;
  }

  #said(event) {
    const mine = event.client === this.#client;
    const head = make("p", "head");
    head.append(person(event.name), " ", transportLabel(event.via), " ", this.#delay(event, mine));
    return [head, words(event.text)];
  }

  #unsent(message) {
    const line = make("li", "say");
    line.dataset.kind = "say";
    line.dataset.id = message.id;
    const head = make("p", "head");
    head.append(person(message.name), " ", transportLabel(message.via), " ", make("span", "delay"));
    line.append(head, words(message.text));
    return line;
  }

  #delay(event, mine) {
    const delay = make("span", "delay");
    if (!this.isLive(event)) {
      delay.textContent = t("chat.delay.before", { time: time(event.published) });
    } else if (mine && event.sent !== null) {
      delay.textContent = t("chat.delay.own", { delay: milliseconds(Date.now() - event.sent) });
    } else {
      delay.textContent = t("chat.delay.others", { delay: milliseconds(Date.now() - event.published) });
    }
    return delay;
  }

  #find(id) {
    return id && this.#list.querySelector(`[data-id="${CSS.escape(id)}"]`);
  }

  #keepAtEnd(change) {
    const box = this.#box;
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
    change();
    if (atEnd) box.scrollTop = box.scrollHeight;
  }
}

export function person(name) {
  const bdi = make("bdi", "name");
  bdi.textContent = name ?? t("chat.somebody");
  return bdi;
}

function words(text) {
  const paragraph = make("p", "text");
  const bdi = document.createElement("bdi");
  bdi.textContent = text;
  paragraph.append(bdi);
  return paragraph;
}

function going({ kind, name, via }) {
  return parts(GOINGS[kind], { name: person(name), via: transportLabel(via) });
}

function gapText({ reason, missed }) {
  const count = missed === null
    ? t("chat.gap.count_unknown")
    : t("chat.gap.count", { missed: number(missed) });
  return t("chat.gap", { reason, count, why: t(GAPS[reason] ?? "chat.gap.other") });
}

function stateText(state, trouble) {
  if (state === "accepted") return t("chat.unsent.accepted");
  if (state === "refused") return t("chat.unsent.refused", { why: trouble.message });
  return trouble ? t("chat.unsent.again", { why: trouble.message }) : t("chat.unsent.pending");
}

function milliseconds(ms) {
  const rounded = number(Math.round(ms));
  if (ms < 0) return t("chat.ms_clocks", { ms: rounded });
  return ms < 1 ? t("chat.ms_little") : t("chat.ms", { ms: rounded });
}
