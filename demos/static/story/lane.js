// One lane: a browser on the left, a server on the right, and what they really send to each other, as dots
// in slow motion.  It owns one connection of one transport, and shows its delay and its bytes.
//
// Dots move by `transform` alone, in animations that the compositor runs: no layout per frame.

import { el } from "../dom.js";
import { explain, number, t, translate } from "../i18n.js";
import { newClient } from "../identity.js";
import { transportLabel, transportName } from "../page_layout.js";
import { bytes as bytesText, duration } from "../wire/labels.js";
import { networkBytes } from "../wire/quic.js";
import { RttEstimate } from "../wire/rtt_estimate.js";
import { Trace } from "../wire/trace.js";
import { TraceBuilder } from "../wire/trace_builder.js";
import { Agenda } from "./agenda.js";
import { diameter, kindOf, Timeline } from "./timeline.js";

const SETTLE_TIME = 1_000; // ms after the connection is open: what opens it is not counted
const MAX_HIDDEN = 7_000; // ms: then a message is shown, even if no dot has brought it
const MAX_MARKS = 30;
const SETTINGS = { interval: 2, pad: 0 };

const MARKUP = `
  <div class="lane-head">
    <h2 class="lane-name"></h2> <span class="lane-claim"></span> <span class="lane-state"></span>
    <dl class="counters">
      <div><dt class="delay-label" data-i18n="story.delay">message delay</dt><dd class="delay">–</dd></div>
      <div><dt class="bytes-label" data-i18n="story.bytes">bytes per message</dt><dd class="bytes">–</dd></div>
    </dl>
  </div>
  <div class="stage" aria-hidden="true">
    <div class="end browser">
      <svg viewBox="0 0 40 30"><rect x="1" y="1" width="38" height="28" rx="3"></rect><path d="M1 8H39M5 4.5H7M9 4.5H11"></path></svg>
      <b data-i18n="story.browser">Browser</b>
      <span class="last"></span>
    </div>
    <div class="track"><span class="pipe" data-i18n="story.open">connection open</span></div>
    <div class="end server">
      <svg viewBox="0 0 40 30"><rect x="5" y="1" width="30" height="13" rx="2"></rect><rect x="5" y="16" width="30" height="13" rx="2"></rect><path d="M9 7.5H11M9 22.5H11M17 7.5H31M17 22.5H31"></path></svg>
      <b data-i18n="story.server">Server</b>
      <span class="notes"><span class="stored" data-i18n="story.stored">has a message</span>
        <span class="held" data-i18n="story.held">holds the request</span></span>
    </div>
  </div>
  <p class="tally"><span class="marks" aria-hidden="true"></span> <span class="counts"></span></p>`;

// The entries of a trace go straight to the lane: it needs neither its bars nor its aggregation.
class Entries extends Trace {
  #listener;

  constructor(listener) {
    super();
    this.#listener = listener;
  }

  add(entry) { this.#listener(entry); }
  startBar() { return {}; }
  endBar() {}
  startOutage() {}
  endOutage() { return false; }
}

export class Lane {
  client = newClient();
  state = "connecting";
  wastedBytes = 0; // of empty responses and their requests
  #options;
  #connection;
  #closed = false;
  #paused = false;
  #timeline = new Timeline();
  #agenda = new Agenda();
  #flying = new Set(); // the animations of the dots
  #trace = new Entries((entry) => this.#add(entry));
  #builder = new TraceBuilder(this.#trace, new RttEstimate());
  #unsent = 0; // messages that the user has sent and the capture has not shown
  #undelivered = 0; // of these, those that no dot has brought back
  #received = []; // messages that no dot has brought yet
  #counting = false;
  #bytes = 0;
  #pollBytes = 0;
  #empty = 0;
  #messages = 0;
  #requests = 0;
  #width = 0;
  #resizing = new ResizeObserver(([{ contentRect }]) => { this.#width = contentRect.width; });

  /**
   * `options` are {room, showsIdle, isCaptured(), delayOf(event), onShown(lane, id, delay), onState()}; with
   * `showsIdle` it shows the bytes without a message, too.
   */
  constructor(transport, options) {
    this.transport = transport;
    this.#options = options;
    this.element = this.#build();
    this.#resizing.observe(this.#find(".track"));
    this.#drawState();
    this.#drawCounts();
  }

  #build() {
    const element = el("section", { className: "lane", innerHTML: MARKUP });
    element.dataset.transport = this.transport;
    element.setAttribute("aria-label", transportName(this.transport));
    translate(element);
    element.querySelector(".lane-name").append(transportLabel(this.transport));
    element.querySelector(".lane-claim").textContent = t(`story.${this.transport}.claim`);
    return element;
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }

  // --- the connection ----------------------------------------------------------------------------

  /** Connect at `after`, a cursor; `trace` is the secret of the tap, `base` the port to use. */
  async open(after, trace, base) {
    const { connect } = await import(`../transports/${this.transport}.js`);
    if (this.#closed) return;
    this.#connection = connect(this.#options.room, {
      after, base, trace,
      client: this.client, // without a name: a lane listens and is no member of the room
      setting: (id) => SETTINGS[id],
      onEvent: (event) => this.#receive(event),
      onState: (state, detail) => this.#changeState(state, detail),
    });
  }

  close() {
    this.#closed = true;
    this.#connection?.close();
    this.#agenda.clear();
    this.#resizing.disconnect();
    this.element.remove();
  }

  /** Send a message by this transport. */
  async send(message) {
    this.expectMessage();
    this.#timeline.userSends(performance.now());
    this.#unsent += 1;
    this.#undelivered += 1;
    try {
      await this.#connection.send({ ...message, client: this.client, via: this.transport });
    } catch (error) {
      this.#unsent = Math.max(0, this.#unsent - 1);
      this.#undelivered = Math.max(0, this.#undelivered - 1);
      throw error;
    }
  }

  #changeState(state, { error } = {}) {
    this.state = state;
    if (state === "open") setTimeout(() => { this.#counting = true; }, SETTLE_TIME);
    else delete this.element.dataset.pipe;
    this.#drawState(error);
    this.#options.onState();
  }

  // --- messages ----------------------------------------------------------------------------------

  // A message is shown when the dot that brings it arrives.  Without a capture there are no dots.
  #receive(event) {
    if (event.kind !== "say") return;
    const delay = this.#options.delayOf(event);
    this.#received.push({ id: event.id, text: event.text, delay });
    if (!this.#options.isCaptured()) this.#show(1);
    setTimeout(() => this.#show(this.#received.findIndex(({ id }) => id === event.id) + 1), MAX_HIDDEN);
  }

  #show(count) {
    for (const { id, text, delay } of this.#received.splice(0, count)) {
      this.#messages += 1;
      this.#find(".last").textContent = text;
      this.#find(".delay").textContent = duration(delay);
      this.#mark("message");
      this.#options.onShown(this, id, delay);
    }
  }

  // --- the capture -------------------------------------------------------------------------------

  /** Feed a record of this lane's traffic. */
  feed(record) {
    if (this.#counting) this.#bytes += networkBytes(record);
    this.#builder.feed(record);
    this.#drawCounts();
  }

  #add(entry) {
    if (entry.type === "packet") return; // it only carries what the dots show, and is in the bytes
    const kind = this.#kind(entry);
    const now = performance.now();
    const flight = document.hidden || this.#paused ? undefined : this.#timeline.add(entry, now);
    if (flight) return this.#fly(entry, kind, flight, now);
    this.#leave(entry, kind);
    this.#land(entry, kind);
  }

  // Only what the user sent is a message: the libraries send frames and POSTs that are not.
  #kind(entry) {
    const kind = kindOf(entry);
    if (kind !== "message" || entry.direction !== "up") return kind;
    if (!this.#unsent) return "other";
    this.#unsent -= 1;
    return kind;
  }

  #count({ type, bytes, exchange }, kind) {
    if (type === "request") this.#requests += 1;
    if (type === "request" && exchange.transport) this.#pollBytes = bytes;
    if (kind !== "empty") return;
    this.#empty += 1;
    this.wastedBytes += this.#pollBytes + bytes;
  }

  #fly(entry, kind, flight, now) {
    const { direction, start, end } = flight;
    const dot = this.#dot(entry, kind);
    const ends = [0, this.#width];
    if (direction === "down") ends.reverse();
    this.#find(".track").append(dot);
    const animation = dot.animate(
      ends.map((x) => ({ transform: `translateX(${x}px)`, opacity: 1 })),
      // Without motion: three steps instead of a flight.
      { delay: start - now, duration: end - start, easing: reducedMotion.matches ? "steps(3, jump-none)" : "linear" },
    );
    this.#flying.add(animation);
    this.#agenda.add(start, flight, () => this.#leave(entry, kind));
    this.#agenda.add(end, flight, () => {
      this.#flying.delete(animation);
      dot.remove();
      this.#land(entry, kind);
    });
  }

  #dot(entry, kind) {
    const circle = el("i");
    circle.style.setProperty("--size", `${diameter(entry.bytes)}px`);
    const size = el("span", "size", entry.bytes ? ` ${bytesText(entry.bytes)}` : "");
    const dot = el("span", `dot ${kind} ${entry.direction}`, circle, el("span", "dot-label", dotLabel(entry, kind), size));
    dot.dataset.type = entry.type;
    return dot;
  }

  // A dot leaves the server: it was what the server held.
  #leave({ direction, type, exchange }, kind) {
    if (direction !== "down") return;
    if (kind === "message") {
      this.#undelivered = Math.max(0, this.#undelivered - 1);
      delete this.element.dataset.stored;
    }
    if (type === "response" && exchange.transport) delete this.element.dataset.held;
  }

  #land(entry, kind) {
    if (this.#closed) return;
    this.#count(entry, kind);
    const { direction, type, exchange, events } = entry;
    const { dataset } = this.element;
    // The other lane may have published the same message first: then it has already been delivered here.
    if (direction === "up" && kind === "message" && this.#undelivered) dataset.stored = "";
    if (type === "request" && isHeld(exchange)) dataset.held = "";
    if (type === "stream") dataset.pipe = "";
    if (type === "finish" || type === "disconnect") delete dataset.pipe;
    if (direction === "down" && kind === "empty") this.#mark("empty");
    if (direction === "down" && kind === "message") this.#show(events);
    this.#drawCounts();
  }

  /** Stop the dots where they are, or let them continue.  What arrives meanwhile is counted, not drawn. */
  pause(paused) {
    if (paused === this.#paused) return;
    this.#paused = paused;
    for (const animation of this.#flying) {
      if (paused) animation.pause();
      else animation.play();
    }
    if (paused) return this.#agenda.pause();
    this.#timeline.postpone(this.#agenda.resume());
  }

  /** The user sends: count from now on, and let the dots that have not left yet arrive at once. */
  expectMessage() {
    this.#counting = true;
    this.#agenda.catchUp();
    this.#timeline.catchUp(performance.now());
  }

  // --- drawing -----------------------------------------------------------------------------------

  #mark(kind) {
    const marks = this.#find(".marks");
    marks.append(el("i", kind));
    if (marks.childElementCount > MAX_MARKS) marks.firstElementChild.remove();
  }

  #drawCounts() {
    const perMessage = this.#messages > 0;
    const each = bytesText(Math.round(this.#bytes / Math.max(1, this.#messages)));
    this.#write(".bytes", perMessage || this.#options.showsIdle ? each : "–");
    this.#write(".bytes-label", t(perMessage ? "story.bytes" : "story.bytes_idle"));
    this.#write(".counts", t("story.counts", {
      requests: number(this.#requests), empty: number(this.#empty), messages: number(this.#messages),
    }));
  }

  #drawState(error) {
    this.element.dataset.state = this.state;
    this.#write(".lane-state", this.state === "open" ? "" : t(`story.state.${this.state}`, { why: error && explain(error) }));
  }

  #write(selector, text) {
    const element = this.#find(selector);
    if (element.textContent !== text) element.textContent = text;
  }
}

const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

// The request landed, and the server has not responded yet.
function isHeld({ transport, responseEnd }) {
  return transport === "long_polling" && responseEnd === undefined;
}

const LABELS = {
  request: ({ method }, kind) => (kind === "message" ? t("story.dot.post") : method),
  response: ({ status }, kind) => {
    if (status === 201) return t("story.dot.stored", { status });
    if (kind === "other") return String(status);
    return t(kind === "empty" ? "story.dot.empty" : "story.dot.response", { status });
  },
  stream: ({ status }) => t("story.dot.stream", { status }),
  event: () => t("story.dot.message"),
  message: (entry, kind) => t(kind === "message" ? "story.dot.message" : "story.dot.frame"),
  ack: () => t("story.dot.ack"),
  heartbeat: () => t("story.dot.heartbeat"),
  ping: () => "ping",
  pong: () => "pong",
  chunk: () => t("story.dot.chunk"),
  frame: () => t("story.dot.frame"),
  line: () => t("story.dot.line"),
  datagram: () => t("story.dot.datagram"),
  finish: () => t("story.dot.close"),
  close: () => t("story.dot.close"),
};

function dotLabel(entry, kind) {
  return LABELS[entry.type](entry, kind);
}
