// The wire view: the exact bytes that crossed the socket, each part named and counted.  A selected part shows
// what it is and which standard defines it.  The parts are one tab stop: arrow keys move between them.

import { el } from "../dom.js";
import { FollowingBox } from "../following_box.js";
import { number, t, translate } from "../i18n.js";
import { Blocks } from "./blocks.js";
import { asHex, asText } from "./bytes.js";
import { explain, nameOf } from "./explain.js";
import { sizeOf } from "./payload.js";

const DRAW_INTERVAL = 100; // ms
const MAX_BLOCKS = 200;
const MAX_NEW_BLOCKS = 40; // in one drawing
const MAX_FILE_BLOCKS = 1_000; // of a capture file, all in one drawing
const MAX_BYTES = 4_096; // of one block
const MAX_HEX_BYTES = 256; // of the selected part

const MARKUP = `
  <div class="view-head wire-tools">
    <h2 data-i18n="part.wire">Every byte</h2>
    <select class="direction" aria-label="Show" data-i18n-aria-label="wire.direction">
      <option value="both" data-i18n="wire.both">both directions</option>
      <option value="up" data-i18n="wire.up">↑ what the browser sends</option>
      <option value="down" data-i18n="wire.down">↓ what the server sends</option>
    </select>
    <label><input type="checkbox" class="hex"> <span data-i18n="wire.hex">hexadecimal</span></label>
  </div>
  <p class="wire-totals" role="status"></p>
  <div class="wire-share" role="img"><span class="share-words"></span></div>
  <div class="wire-box" role="group" aria-label="What was sent and received; arrow keys move between the parts"
    data-i18n-aria-label="wire.list">
    <ol class="wire-list"></ol>
  </div>
  <div class="wire-explanation" aria-live="polite"></div>`;

export class WireView {
  #element;
  #links;
  #blocks;
  #maxBlocks = MAX_BLOCKS;
  #maxNewBlocks = MAX_NEW_BLOCKS;
  #shown = new Map(); // unit: {block, item}
  #startedAt;
  #open = true;
  #stop; // the part that the Tab key reaches
  #chosen; // the element of the selected part
  #marked = []; // items
  #scroll;
  #player;

  /** Show the bytes in `element`.  The selection is shared with the other views through `links`. */
  constructor(element, { links }) {
    this.#element = element;
    this.#links = links;
    this.#blocks = this.#newBlocks();
    element.classList.add("wire");
    element.innerHTML = MARKUP;
    translate(element);
    this.#listen();
    this.#find(".wire-explanation").textContent = t("wire.choose");
    setInterval(() => this.#draw(), DRAW_INTERVAL);
  }

  feed(record) {
    if (record.open !== undefined) this.#open = record.open;
    this.#startedAt ??= record.at;
    this.#blocks.feed(record);
  }

  /** Show what had happened at the player's time. */
  play(player) {
    this.#player = player;
    this.#draw();
    for (const { block, item } of this.#shown.values()) this.#hideLater(block, item);
    if (player.state === "live") this.#scroll.restart();
  }

  /** Start again with nothing: next come the records of a capture file, or of the live traffic. */
  reset({ isFile }) {
    this.#maxBlocks = isFile ? MAX_FILE_BLOCKS : MAX_BLOCKS;
    this.#maxNewBlocks = isFile ? MAX_FILE_BLOCKS : MAX_NEW_BLOCKS;
    this.#blocks = this.#newBlocks();
    this.#startedAt = undefined;
    this.#open = true;
    this.clear();
    if (isFile) this.#scroll.toStart();
    else this.#scroll.restart();
  }

  #newBlocks() {
    return new Blocks((unit, keys) => this.#links.add(unit, keys), this.#maxBlocks);
  }

  clear() {
    this.#blocks.clear();
    this.#shown.clear();
    this.#stop = this.#chosen = undefined;
    this.#find(".wire-list").replaceChildren();
    this.#find(".wire-explanation").textContent = t("wire.choose");
  }

  #find(selector) {
    return this.#element.querySelector(selector);
  }

  // --- input -------------------------------------------------------------------------------------

  #listen() {
    const list = this.#find(".wire-list");
    const box = this.#find(".wire-box");
    this.#scroll = new FollowingBox(box);
    this.#find(".direction").addEventListener("change", ({ target }) => {
      list.dataset.direction = target.value;
    });
    this.#find(".hex").addEventListener("change", () => this.#refill());
    list.addEventListener("click", ({ target }) => this.#choose(target.closest(".wire-part")));
    list.addEventListener("focusin", ({ target }) => this.#choose(target));
    list.addEventListener("keydown", (press) => this.#key(press));
    let hovered;
    const hover = ({ type, target }) => {
      const item = type === "pointerleave" ? undefined : target.closest("li");
      if (item === hovered) return;
      hovered = item;
      this.#links.hover(this, item?.dataset.unit && { units: [item.dataset.unit] });
    };
    box.addEventListener("pointerover", hover);
    box.addEventListener("pointerleave", hover);
    this.#links.on(({ source, units }) => this.#highlight(source, units));
  }

  // What is marked must not move away, so the list does not follow new bytes meanwhile.
  #highlight(source, units) {
    if (units.size && source !== this) this.#draw();
    this.#marked.forEach((item) => item.classList.remove("linked"));
    this.#marked = [...units].map((unit) => this.#shown.get(unit)?.item).filter(Boolean);
    this.#marked.forEach((item) => item.classList.add("linked"));
    if (units.size) this.#scroll.hold(source === this ? undefined : this.#marked[0]);
    else this.#scroll.release();
  }

  // Left and right go to the next part, up and down to the next block.
  #key(press) {
    const target = this.#neighbour(press.key, press.target);
    if (target === undefined) return;
    press.preventDefault();
    target?.focus();
  }

  #neighbour(key, part) {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[key];
    const all = [...this.#find(".wire-list").querySelectorAll(".wire-part")].filter(isVisible);
    if (key === "Home") return all[0];
    if (key === "End") return all.at(-1);
    if (step === undefined) return undefined;
    if (key === "ArrowLeft" || key === "ArrowRight") return all[all.indexOf(part) + step] ?? null;
    const firsts = all.filter((one, n) => one.closest("li") !== all[n - 1]?.closest("li"));
    const current = firsts.findIndex((one) => one.closest("li") === part.closest("li"));
    return firsts[current + step] ?? null;
  }

  // --- drawing -----------------------------------------------------------------------------------

  #draw() {
    if (document.hidden) return;
    const changed = this.#drawBlocks();
    this.#drawTotals();
    if (changed) this.#scroll.follow();
  }

  #drawBlocks() {
    const fresh = this.#blocks.take();
    const grown = [...this.#shown.values()].filter(({ block }) => block.changed);
    for (const { block, item } of grown) this.#fill(block, item);
    const list = this.#find(".wire-list");
    if (fresh.length > this.#maxNewBlocks) list.append(skipped(fresh.splice(0, fresh.length - this.#maxNewBlocks)));
    for (const block of fresh) list.append(this.#item(block));
    while (list.children.length > this.#maxBlocks) this.#forget(list.firstElementChild);
    if (!this.#stop?.isConnected) this.#setStop(list.querySelector(".wire-part"));
    return fresh.length + grown.length > 0;
  }

  #forget(item) {
    this.#shown.delete(item.dataset.unit);
    item.remove();
  }

  #item(block) {
    const item = el("li", "", el("p", "wire-head"), el("pre"));
    item.dataset.unit = block.unit;
    item.dataset.direction = block.direction;
    item.dataset.kind = block.message.kind;
    this.#shown.set(block.unit, { block, item });
    this.#fill(block, item);
    this.#hideLater(block, item);
    return item;
  }

  #hideLater(block, item) {
    item.hidden = block.at > (this.#player?.time ?? Infinity);
  }

  #fill(block, item) {
    block.changed = false;
    item.querySelector(".wire-head").textContent = this.#summary(block);
    const parts = [];
    let left = MAX_BYTES;
    for (const [n, part] of block.parts.entries()) {
      if (left > 0) parts.push(this.#part({ ...part, bytes: part.bytes.subarray(0, left) }, n, block));
      left -= part.bytes.length;
    }
    const hidden = block.bytes - MAX_BYTES;
    if (hidden > 0) parts.push(t("wire.hidden", { bytes: number(hidden) }));
    const focused = item.contains(document.activeElement) && document.activeElement.dataset.part;
    item.querySelector("pre").replaceChildren(...parts);
    if (focused) item.querySelector(`[data-part="${focused}"]`)?.focus();
  }

  #refill() {
    for (const { block, item } of this.#shown.values()) this.#fill(block, item);
  }

  #summary({ direction, connection, message, bytes, plain, at, parts }) {
    const values = {
      arrow: direction === "up" ? "↑" : "↓", connection, bytes: number(bytes),
      seconds: ((at - this.#startedAt) / 1000).toFixed(3), what: blockName(message, parts),
    };
    const summary = t("wire.summary", values);
    return plain ? `${summary} ${t("wire.inflated", { bytes: number(plain.length) })}` : summary;
  }

  #part(part, n, block) {
    const title = t("wire.part_of", { name: nameOf(part, block), bytes: number(sizeOf(part)) });
    // Not a <button>: its text would not wrap within the line.
    const span = el("span", { className: "wire-part", tabIndex: -1, title }, this.#partText(part, block));
    span.setAttribute("role", "button");
    span.dataset.kind = part.kind;
    span.dataset.part = n;
    return span;
  }

  #partText(part, block) {
    if (part.kind === "packet") return t("wire.encrypted", { bytes: number(part.size) });
    return this.#find(".hex").checked ? asHex(part.bytes) : asText(part, block);
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

  #setStop(span) {
    if (this.#stop) this.#stop.tabIndex = -1;
    this.#stop = span ?? undefined;
    if (span) span.tabIndex = 0;
  }

  #choose(span) {
    if (!span || span === this.#chosen) return;
    this.#chosen?.removeAttribute("aria-current");
    this.#chosen = span;
    this.#setStop(span);
    span.setAttribute("aria-current", "true");
    const { block } = this.#shown.get(span.closest("li").dataset.unit);
    this.#explain(block.parts[span.dataset.part], block);
    this.#links.select(this, { units: [block.unit] });
  }

  #explain(part, block) {
    const { title, text, section } = explain(part, block);
    const count = t("wire.bytes", { bytes: number(sizeOf(part)) });
    this.#find(".wire-explanation").replaceChildren(
      el("p", "", el("b", "", title), " · ", text, " ", el("span", "wire-section", section)),
      el("p", "small", count, " ", el("code", "", asHex(part.bytes.subarray(0, MAX_HEX_BYTES)))),
    );
  }
}

function isVisible(part) {
  return part.offsetParent !== null;
}

function skipped(blocks) {
  const bytes = blocks.reduce((sum, block) => sum + block.bytes, 0);
  const text = t("wire.skipped", { blocks: number(blocks.length), bytes: number(bytes) });
  return el("li", "skipped", text);
}

const BLOCK_NAMES = { packet: "wire.a_packet", line: "wire.a_line", datagram: "wire.a_datagram" };

function blockName(message, parts) {
  const [{ kind }] = parts;
  if (kind === "chunk-size" || kind === "last-chunk") return t("wire.a_chunk");
  if (message.kind === "frame") return t("wire.a_frame", { opcode: opcodeName(message.opcode) });
  if (message.kind in BLOCK_NAMES) return t(BLOCK_NAMES[message.kind], { stream: message.stream });
  return message.startLine ?? t("wire.unknown");
}

function opcodeName(opcode) {
  return { 0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong" }[opcode] ?? opcode;
}
