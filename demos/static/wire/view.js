// The wire view: the very bytes that crossed the socket, each part named and counted; a click on one
// tells what it is and where it is written down.

import { make } from "../make.js";
import { number, t } from "../words.js";
import { Blocks } from "./blocks.js";
import { asHex, asText } from "./bytes.js";
import { explain, nameOf } from "./explain.js";

const DRAW = 100; // ms
const KEPT = 200; // blocks in sight
const AT_ONCE = 40; // that one picture adds
const LONG = 4_096; // bytes of one block in sight
const NEAR = 40; // px

const FRAME = `
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
    <aside class="wire-told" aria-live="polite"></aside>
  </div>`;

/** Show in `element` what a tap tells. */
export function showWire(element, tap) {
  const view = new View(element);
  tap.on((piece) => view.feed(piece));
}

class View {
  #element;
  #blocks = new Blocks();
  #shown = new Map(); // number: {block, item}
  #begun;
  #open = true;
  #told; // the part that was chosen

  constructor(element) {
    this.#element = element;
    element.classList.add("wire");
    element.innerHTML = FRAME;
    this.#label();
    this.#listen();
    this.#at(".wire-told").textContent = t("wire.choose");
    setInterval(() => this.#draw(), DRAW);
  }

  feed(piece) {
    if (piece.open !== undefined) this.#open = piece.open;
    this.#begun ??= piece.at;
    this.#blocks.feed(piece);
  }

  #at(selector) {
    return this.#element.querySelector(selector);
  }

  #label() {
    this.#at(".pause").textContent = t("wire.pause");
    this.#at(".clear").textContent = t("wire.clear");
    this.#at(".direction").previousElementSibling.textContent = t("wire.direction");
    for (const option of this.#at(".direction").options) option.textContent = t(`wire.${option.value}`);
    this.#at(".hex").nextElementSibling.textContent = t("wire.hex");
    this.#at(".wire-box").setAttribute("aria-label", t("wire.list"));
  }

  #listen() {
    this.#at(".pause").addEventListener("click", () => this.#pause());
    this.#at(".clear").addEventListener("click", () => this.#clear());
    this.#at(".direction").addEventListener("change", ({ target }) => {
      this.#at(".wire-list").dataset.direction = target.value;
    });
    this.#at(".hex").addEventListener("change", () => this.#fillAgain());
    const choose = ({ target }) => this.#choose(target.closest(".piece"));
    this.#at(".wire-list").addEventListener("click", choose);
    this.#at(".wire-list").addEventListener("keydown", (press) => {
      if (press.key === "Enter" && press.target.matches(".piece")) choose(press);
    });
  }

  #pause() {
    this.#blocks.paused = !this.#blocks.paused;
    this.#at(".pause").textContent = t(this.#blocks.paused ? "wire.go_on" : "wire.pause");
  }

  #clear() {
    this.#blocks.clear();
    this.#shown.clear();
    this.#at(".wire-list").replaceChildren();
  }

  // --- drawing -----------------------------------------------------------------------------------

  #draw() {
    if (document.hidden) return;
    const box = this.#at(".wire-box");
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
    const changed = this.#drawBlocks();
    this.#drawTotals();
    if (changed && atEnd) box.scrollTop = box.scrollHeight;
  }

  #drawBlocks() {
    const fresh = this.#blocks.take();
    const grown = [...this.#shown.values()].filter(({ block }) => block.changed);
    for (const { block, item } of grown) this.#fill(block, item);
    const list = this.#at(".wire-list");
    if (fresh.length > AT_ONCE) list.append(this.#skipped(fresh.splice(0, fresh.length - AT_ONCE)));
    for (const block of fresh) list.append(this.#item(block));
    while (list.children.length > KEPT) this.#forget(list.firstElementChild);
    return fresh.length + grown.length > 0;
  }

  #forget(item) {
    this.#shown.delete(Number(item.dataset.number));
    item.remove();
  }

  #skipped(blocks) {
    const item = document.createElement("li");
    item.className = "skipped";
    const bytes = blocks.reduce((sum, block) => sum + block.bytes, 0);
    item.textContent = t("wire.skipped", { blocks: number(blocks.length), bytes: number(bytes) });
    return item;
  }

  #item(block) {
    const item = document.createElement("li");
    item.dataset.number = block.number;
    item.dataset.direction = block.direction;
    item.innerHTML = "<details open><summary></summary><pre></pre></details>";
    this.#shown.set(block.number, { block, item });
    this.#fill(block, item);
    return item;
  }

  #fill(block, item) {
    block.changed = false;
    item.querySelector("summary").textContent = this.#summary(block);
    const pieces = [];
    let left = LONG;
    for (const [n, part] of block.parts.entries()) {
      if (left > 0) pieces.push(this.#piece({ ...part, bytes: part.bytes.subarray(0, left) }, n, block));
      left -= part.bytes.length;
    }
    const hidden = block.bytes - LONG;
    if (hidden > 0) pieces.push(t("wire.hidden", { bytes: number(hidden) }));
    item.querySelector("pre").replaceChildren(...pieces);
  }

  #fillAgain() {
    for (const { block, item } of this.#shown.values()) this.#fill(block, item);
  }

  #summary({ direction, connection, message, bytes, at, parts }) {
    const values = {
      arrow: direction === "up" ? "↑" : "↓", connection, bytes: number(bytes),
      seconds: ((at - this.#begun) / 1000).toFixed(3), what: whatIs(message, parts),
    };
    return t("wire.summary", values);
  }

  #piece(part, n, block) {
    // No <button>: its words would not go on in the line, and over the end of it.
    const piece = make("span", "piece", "");
    piece.tabIndex = 0;
    piece.setAttribute("role", "button");
    piece.dataset.kind = part.kind;
    piece.dataset.part = n;
    piece.textContent = this.#at(".hex").checked ? asHex(part.bytes) : asText(part, block);
    piece.title = t("wire.part_of", { name: nameOf(part, block), bytes: number(part.bytes.length) });
    return piece;
  }

  // --- totals ------------------------------------------------------------------------------------

  #drawTotals() {
    const { up, down, words } = this.#blocks.totals;
    const share = up + down ? (100 * words) / (up + down) : 0;
    const values = { up: number(up), down: number(down), words: number(words), share: share.toFixed(1) };
    const lines = [t("wire.totals", values)];
    if (this.#blocks.skipped) lines.push(t("wire.dropped", { bytes: number(this.#blocks.skipped) }));
    if (!this.#open) lines.push(t("wire.closed"));
    const text = lines.join(" ");
    if (this.#at(".wire-totals").textContent === text) return;
    this.#at(".wire-totals").textContent = text;
    this.#at(".wire-share").setAttribute("aria-label", t("wire.share", values));
    this.#at(".share-words").style.width = `${share}%`;
  }

  // --- a part that was chosen --------------------------------------------------------------------

  #choose(piece) {
    if (!piece) return;
    this.#told?.removeAttribute("aria-current");
    this.#told = piece;
    piece.setAttribute("aria-current", "true");
    const { block } = this.#shown.get(Number(piece.closest("li").dataset.number));
    const part = block.parts[piece.dataset.part];
    const { title, words, section } = explain(part, block);
    const count = t("wire.bytes", { bytes: number(part.bytes.length) });
    this.#at(".wire-told").replaceChildren(
      make("h3", "", title), make("p", "", words), make("p", "wire-section", section),
      make("p", "small", count), make("pre", "", asHex(part.bytes.subarray(0, 256))),
    );
  }
}

function whatIs(message, parts) {
  const [{ kind }] = parts;
  if (kind === "chunk-size" || kind === "last-chunk") return t("wire.a_chunk");
  if (message.kind === "frame") return t("wire.a_frame", { opcode: opcodeName(message.opcode) });
  return message.startLine ?? t("wire.unknown");
}

function opcodeName(opcode) {
  return { 0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong" }[opcode] ?? opcode;
}
