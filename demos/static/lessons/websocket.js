// The lesson of the WebSocket, with the bytes of this page's own connection: the handshake, every bit of a
// frame’s head, and the unmasking of its payload.  Then backpressure: a page that reads slowly.

import { el } from "../dom.js";
import { number, t } from "../i18n.js";
import { BACKPRESSURE, showBackpressure } from "./backpressure.js";
import { bitTable, hiddenBytes, opcodeName, payloadText, readFrame, unmasking } from "./frame_bits.js";
import { EXAMPLE, showSteps } from "./handshake.js";
import { fillLesson, oncePerFrame } from "./helpers.js";
import { watchSocket } from "./watch.js";

const MAX_FRAMES = 12;
const MAX_OWN = 4; // messages of ours that stay, however many frames follow
const MAX_TEXT = 60; // characters of a frame in the list
const KNOWN_OPCODES = new Set([0, 1, 2, 8, 9, 10]);

const PAGE = `
  <h2 data-i18n="lesson.ws.title"></h2>
  <p data-i18n="lesson.ws.idea"></p>
  <p class="controls"><label><code>Sec-WebSocket-Key</code>
    <input data-part="key" size="26" maxlength="60" spellcheck="false"></label>
    <button type="button" data-part="again" data-i18n="lesson.ws.again"></button>
    <span data-part="whose" role="status"></span></p>
  <ol data-part="steps" class="handshake"></ol>
  <h3 data-i18n="lesson.ws.frames-title"></h3>
  <p data-i18n="lesson.ws.frames"></p>
  <div data-part="frames" class="frames" role="group" data-i18n-aria-label="lesson.ws.frames-title"></div>
  <div data-part="one" hidden>
    <p data-part="about"></p>
    <div class="scroll"><table data-part="bits" class="bits"></table></div>
    <p class="small" data-i18n="lesson.ws.bits-note"></p>
    <h3 data-i18n="lesson.ws.mask-title"></h3>
    <p data-part="mask"></p>
    <ol data-part="xor" class="xor"></ol>
    <pre data-part="text"></pre>
  </div>
  ${BACKPRESSURE}`;

export function showLesson(element, { tap, reconnect }) {
  const part = fillLesson(element, PAGE);
  const frames = [];
  let handshake = EXAMPLE;
  let chosen;

  function showHandshake() {
    const key = part("key").value.trim();
    const whose = key !== handshake.key ? "own" : handshake === EXAMPLE ? "example" : "real";
    showSteps(part("steps"), key, handshake.accept);
    part("whose").textContent = t(`lesson.ws.${whose}`);
  }

  const draw = oncePerFrame(() => {
    part("frames").replaceChildren(...frames.map((frame) => frameButton(frame, frame === chosen)));
  });

  function choose(frame) {
    chosen = frame;
    showFrame(part, frame);
    draw();
  }

  function frameButton(frame, pressed) {
    const name = `${frame.direction === "up" ? "↑" : "↓"} ${opcodeName(frame.opcode)} ${number(frame.length)}`;
    const text = el("bdi", "", payloadText(frame).slice(0, MAX_TEXT));
    const properties = { type: "button", className: "frame", onclick: () => choose(frame) };
    const button = el("button", properties, el("b", "", name), " ", text);
    button.dataset.direction = frame.direction;
    button.dataset.opcode = frame.opcode;
    button.setAttribute("aria-pressed", pressed);
    return button;
  }

  // The chosen frame stays, since it is shown below the list, and so do our latest messages.
  function isDispensable(frame) {
    return frame !== chosen && !frames.filter(isMessage).slice(-MAX_OWN).includes(frame);
  }

  watchSocket(tap, {
    onHandshake({ fields, request }) {
      handshake = {
        key: request.fields.get("sec-websocket-key"),
        accept: fields.get("sec-websocket-accept"),
      };
      part("key").value = handshake.key;
      showHandshake();
    },
    onFrame(message, bytes) {
      const frame = readFrame(message, bytes);
      frames.push(frame);
      if (frames.length > MAX_FRAMES) frames.splice(frames.findIndex(isDispensable), 1);
      // Select the first frame, so that the lesson is not empty.
      if (!chosen) choose(frame);
      draw();
    },
  });
  part("key").value = EXAMPLE.key;
  part("key").addEventListener("input", showHandshake);
  part("again").addEventListener("click", reconnect);
  showHandshake();
  showBackpressure(part);
}

function isMessage({ direction, opcode }) {
  return direction === "up" && opcode === 1;
}

function showFrame(part, frame) {
  const { opcode, masked, direction, length, bytes } = frame;
  part("one").hidden = false;
  part("about").replaceChildren(
    el("b", "", t(`lesson.ws.went-${direction}`)), " ",
    KNOWN_OPCODES.has(opcode) ? t(`lesson.ws.opcode-${opcode}`) : t("lesson.ws.reserved"), " ",
    t("lesson.ws.size", { head: number(bytes.length - length), length: number(length) }),
  );
  part("bits").replaceChildren(bitTable(frame));
  part("mask").textContent = t(masked ? "lesson.ws.masked" : "lesson.ws.unmasked", { more: number(hiddenBytes(frame)) });
  part("xor").replaceChildren(...(masked ? unmasking(frame) : []));
  part("text").textContent = payloadText(frame);
}
