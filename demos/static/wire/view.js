// The wire view: the exact bytes that crossed the socket, each part named and counted.  A click on a part
// shows what it is and which standard defines it.

import { el } from "../dom.js";
import { number, t } from "../i18n.js";
import { Blocks } from "./blocks.js";
import { asHex, asText } from "./bytes.js";
import { explain, nameOf } from "./explain.js";

const DRAW_INTERVAL = 100; // ms
const MAX_BLOCKS = 200;
const MAX_NEW_BLOCKS = 40; // in one drawing
const MAX_BYTES = 4_096; // of one block
const MAX_HEX_BYTES = 256; // of the selected part
const NEAR_END = 40; // px

const MARKUP = `
  <p class="wire-tools">
    <button type="button" class="pause"></button>
    <button type="button" class="clear"></button>
    <label><span></span> <select class="direction"><option value="both"></option>
      <option value="up"></option><option value="down"></option></select></label>
    <label><input type="checkbox" class="hex"> <span></span></label>
  </p>
  <p class="wire-totals" role="status"></p>
  <div class="wire-share" role="img"><span class="share-words"></span></div>
  <div class="wire-halves">
    <div class="wire-box" tabindex="0" role="region"><ol class="wire-list"></ol></div>
    <aside class="wire-explanation" aria-live="polite"></aside>
  </div>`;

/** Show the records of a tap in `element`. */
export function showWire(element, tap) {
  const view = new View(element);
  tap.on((record) => view.feed(record));
}

class View {
  #element;
  #blocks = new Blocks();
  #shown = new Map(); // number: {block, item}
  #startedAt;
  #open = true;
  #chosen; // the element of the selected part

  constructor(element) {
    this.#element = element;
    element.classList.add("wire");
    element.innerHTML = MARKUP;
    this.#label();
    this.#listen();
    this.#find(".wire-explanation").textContent = t("wire.choose");
    setInterval(() => this.#draw(), DRAW_INTERVAL);
  }

  feed(record) {
    if (record.open !== undefined) this.#open = record.open;
    this.#startedAt ??= record.at;
    this.#blocks.feed(record);
  }

  #find(selector) {
    return this.#element.querySelector(selector);
  }

  #label() {
    this.#find(".pause").textContent = t("wire.pause");
    this.#find(".clear").textContent = t("wire.clear");
    this.#find(".direction").previousElementSibling.textContent = t("wire.direction");
    for (const option of this.#find(".direction").options) option.textContent = t(`wire.${option.value}`);
    this.#find(".hex").nextElementSibling.textContent = t("wire.hex");
    this.#find(".wire-box").setAttribute("aria-label", t("wire.list"));
  }

  #listen() {
    this.#find(".pause").addEventListener("click", () => this.#pause());
    this.#find(".clear").addEventListener("click", () => this.#clear());
    this.#find(".direction").addEventListener("change", ({ target }) => {
      this.#find(".wire-list").dataset.direction = target.value;
    });
    this.#find(".hex").addEventListener("change", () => this.#refill());
    const choose = ({ target }) => this.#choose(target.closest(".wire-part"));
    this.#find(".wire-list").addEventListener("click", choose);
    this.#find(".wire-list").addEventListener("keydown", (press) => {
      if (press.key === "Enter" && press.target.matches(".wire-part")) choose(press);
    });
  }

  #pause() {
    this.#blocks.paused = !this.#blocks.paused;
    this.#find(".pause").textContent = t(this.#blocks.paused ? "wire.go_on" : "wire.pause");
  }

  #clear() {
    this.#blocks.clear();
    this.#shown.clear();
    this.#find(".wire-list").replaceChildren();
  }

  // --- drawing -----------------------------------------------------------------------------------

  #draw() {
    if (document.hidden) return;
    const box = this.#find(".wire-box");
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END;
    const changed = this.#drawBlocks();
    this.#drawTotals();
    if (changed && atEnd) box.scrollTop = box.scrollHeight;
  }

  #drawBlocks() {
    const fresh = this.#blocks.take();
    const grown = [...this.#shown.values()].filter(({ block }) => block.changed);
    for (const { block, item } of grown) this.#fill(block, item);
    const list = this.#find(".wire-list");
    if (fresh.length > MAX_NEW_BLOCKS) list.append(this.#skipped(fresh.splice(0, fresh.length - MAX_NEW_BLOCKS)));
    for (const block of fresh) list.append(this.#item(block));
    while (list.children.length > MAX_BLOCKS) this.#forget(list.firstElementChild);
    return fresh.length + grown.length > 0;
  }

  #forget(item) {
    this.#shown.delete(Number(item.dataset.number));
    item.remove();
  }

  #skipped(blocks) {
    const bytes = blocks.reduce((sum, block) => sum + block.bytes, 0);
    const text = t("wire.skipped", { blocks: number(blocks.length), bytes: number(bytes) });
    return el("li", "skipped", text);
  }

  #item(block) {
    const item = el("li", "", el("details", { open: true }, el("summary"), el("pre")));
    item.dataset.number = block.number;
    item.dataset.direction = block.direction;
    this.#shown.set(block.number, { block, item });
    this.#fill(block, item);
    return item;
  }

  #fill(block, item) {
    block.changed = false;
    item.querySelector("summary").textContent = this.#summary(block);
    const parts = [];
    let left = MAX_BYTES;
    for (const [n, part] of block.parts.entries()) {
      if (left > 0) parts.push(this.#part({ ...part, bytes: part.bytes.subarray(0, left) }, n, block));
      left -= part.bytes.length;
    }
    const hidden = block.bytes - MAX_BYTES;
    if (hidden > 0) parts.push(t("wire.hidden", { bytes: number(hidden) }));
    item.querySelector("pre").replaceChildren(...parts);
  }

  #refill() {
    for (const { block, item } of this.#shown.values()) this.#fill(block, item);
  }

  #summary({ direction, connection, message, bytes, at, parts }) {
    const values = {
      arrow: direction === "up" ? "↑" : "↓", connection, bytes: number(bytes),
      seconds: ((at - this.#startedAt) / 1000).toFixed(3), what: blockName(message, parts),
    };
    return t("wire.summary", values);
  }

  #part(part, n, block) {
    const text = this.#find(".hex").checked ? asHex(part.bytes) : asText(part, block);
    const title = t("wire.part_of", { name: nameOf(part, block), bytes: number(part.bytes.length) });
    // Not a <button>: its text would not wrap within the line.
    const span = el("span", { className: "wire-part", tabIndex: 0, title }, text);
    span.setAttribute("role", "button");
    span.dataset.kind = part.kind;
    span.dataset.part = n;
    return span;
  }

  // --- totals ------------------------------------------------------------------------------------

  #drawTotals() {
    const { up, down, text } = this.#blocks.totals;
    const share = up + down ? (100 * text) / (up + down) : 0;
    const values = { up: number(up), down: number(down), words: number(text), share: share.toFixed(1) };
    const lines = [t("wire.totals", values)];
    if (this.#blocks.skipped) lines.push(t("wire.dropped", { bytes: number(this.#blocks.skipped) }));
    if (!this.#open) lines.push(t("wire.closed"));
    const line = lines.join(" ");
    if (this.#find(".wire-totals").textContent === line) return;
    this.#find(".wire-totals").textContent = line;
    this.#find(".wire-share").setAttribute("aria-label", t("wire.share", values));
    this.#find(".share-words").style.width = `${share}%`;
  }

  // --- the selected part -------------------------------------------------------------------------

  #choose(span) {
    if (!span) return;
    this.#chosen?.removeAttribute("aria-current");
    this.#chosen = span;
    span.setAttribute("aria-current", "true");
    const { block } = this.#shown.get(Number(span.closest("li").dataset.number));
    const part = block.parts[span.dataset.part];
    const { title, text, section } = explain(part, block);
    const count = t("wire.bytes", { bytes: number(part.bytes.length) });
    this.#find(".wire-explanation").replaceChildren(
      el("h3", "", title), el("p", "", text), el("p", "wire-section", section),
      el("p", "small", count), el("pre", "", asHex(part.bytes.subarray(0, MAX_HEX_BYTES))),
    );
  }
}

function blockName(message, parts) {
  const [{ kind }] = parts;
  if (kind === "chunk-size" || kind === "last-chunk") return t("wire.a_chunk");
  if (message.kind === "frame") return t("wire.a_frame", { opcode: opcodeName(message.opcode) });
  return message.startLine ?? t("wire.unknown");
}

function opcodeName(opcode) {
  return { 0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong" }[opcode] ?? opcode;
}
