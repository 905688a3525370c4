// A bad network to choose: the server lends this page one of its own, at a port of its own, and the
// page's transports go by it.  It may be changed, paused and cut off while they do.

import { ask, askJSON, Trouble } from "./ask.js";
import { t } from "./words.js";

// What may be chosen, in the words of `realtime proxy`; each has a line that says what to look for.
const CHOICES = {
  none: "none",
  delay: "rtt=200ms",
  jitter: "rtt=100ms,jitter=200ms",
  slow: "rate=5kB",
  buffering: "buffer=4096",
  flushing: "buffer=4096,flush=500ms",
  idle: "idle=10s",
  stalls: "stall=500ms/5s",
  own: "",
};
const PAUSE = 5; // seconds

/**
 * Fill `element` with the choice.  `onChange(base)` is told by which port to go from now on, as a URL,
 * or undefined for the page's own.
 */
export async function networkControl(element, onChange) {
  let lab;
  try {
    lab = await askJSON(new URL("/lab", location));
  } catch {
    return; // the page tells by itself that the server is not there
  }
  if (lab.networks) new Control(element, onChange);
  else element.append(paragraph(t("network.none_here")));
}

class Control {
  #element;
  #onChange;
  #loan; // what the server lent us: {id, port, network}
  #choice = select();
  #own = made("input", { className: "own-network", hidden: true, placeholder: "rtt=200ms,jitter=50ms" });
  #pause = button(t("network.pause", { seconds: PAUSE }), () => this.#stop("pause"));
  #unplug = button(t("network.unplug", { seconds: PAUSE }), () => this.#stop("unplug"));
  #look = paragraph("");
  #state = made("p", { className: "network-state" });

  constructor(element, onChange) {
    this.#element = element;
    this.#onChange = onChange;
    this.#fill();
    this.#choice.addEventListener("change", () => this.#chosen());
    this.#own.addEventListener("change", () => this.#apply(this.#own.value));
    addEventListener("pagehide", () => this.#giveBack());
    addEventListener("pageshow", ({ persisted }) => { if (persisted) this.#chosen(); });
    this.#show();
  }

  #fill() {
    const label = made("label", {});
    label.append(t("network.choose"), " ", this.#choice);
    this.#own.setAttribute("aria-label", t("network.own_label"));
    this.#state.setAttribute("role", "status");
    const line = made("p", { className: "network-line" });
    line.append(label, this.#own, this.#pause, this.#unplug);
    this.#element.append(line, this.#look, this.#state);
  }

  #chosen() {
    const own = this.#choice.value === "own";
    this.#own.hidden = !own;
    if (own) this.#own.focus();
    else this.#apply(CHOICES[this.#choice.value]);
    this.#show();
  }

  #show(words = "") {
    this.#look.textContent = t(`network.look.${this.#choice.value}`);
    this.#pause.disabled = this.#unplug.disabled = !this.#loan;
    this.#state.textContent = words;
  }

  // --- what is asked of the server ---------------------------------------------------------------

  async #apply(text) {
    if (text === "none") {
      this.#giveBack();
      this.#onChange(undefined);
      return this.#show();
    }
    await this.#try(async () => {
      const before = this.#loan?.id;
      this.#loan = await this.#change(text);
      // The same port: what is connected meets the new network as it is.
      if (this.#loan.id !== before) this.#onChange(baseAt(this.#loan.port));
      this.#show(t("network.now", { network: this.#loan.network, port: this.#loan.port }));
    });
  }

  /** Change the network we have; one that nobody used for a while was lent to somebody else. */
  async #change(network) {
    if (this.#loan) {
      try {
        return await askJSON(place(this.#loan.id, "", { network }), { method: "PUT" });
      } catch (trouble) {
        if (trouble.code !== "no_network") throw trouble;
      }
    }
    return askJSON(place("", "", { network }), { method: "POST" });
  }

  async #stop(how) {
    await this.#try(async () => {
      await ask(place(this.#loan.id, how, { seconds: PAUSE }), { method: "POST" });
      this.#show(t(`network.after_${how}`, { seconds: PAUSE }));
    });
  }

  async #try(what) {
    try {
      await what();
    } catch (trouble) {
      if (!(trouble instanceof Trouble)) throw trouble;
      if (trouble.code === "no_network") this.#loan = undefined;
      this.#show(`${trouble.code}: ${trouble.message}`);
    }
  }

  #giveBack() {
    if (this.#loan) {
      fetch(place(this.#loan.id), { method: "DELETE", keepalive: true }).catch(() => {});
    }
    this.#loan = undefined;
  }
}

function place(id = "", verb = "", query = {}) {
  const url = new URL(["/networks", id, verb].filter(Boolean).join("/"), location);
  url.search = new URLSearchParams(query);
  return url;
}

function baseAt(port) {
  const base = new URL("/", location);
  base.port = port;
  return base;
}

function select() {
  const choice = made("select", { className: "network-choice" });
  for (const name of Object.keys(CHOICES)) {
    const words = t(`network.choice.${name}`, { network: CHOICES[name] });
    choice.append(made("option", { value: name, textContent: words }));
  }
  return choice;
}

function button(words, onClick) {
  const one = made("button", { type: "button", textContent: words, disabled: true });
  one.addEventListener("click", onClick);
  return one;
}

function paragraph(words) {
  return made("p", { textContent: words });
}

function made(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
