// Network conditions: the server leases a proxy to this page, at its own port, and the page's
// transports connect through it.  The page can change, pause and disconnect it meanwhile.

import { ApiError, request, requestJSON, ROOT } from "./api.js";
import { el } from "./dom.js";
import { t } from "./i18n.js";

// The presets, in the syntax of `realtime proxy`; each has a text that says what to watch for.
const PRESETS = {
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
 * Fill `element` with the control.  `onChange(base)` receives the URL of the port to use from now on, or
 * undefined for the page's own port.
 */
export async function networkControl(element, onChange) {
  let lab;
  try {
    lab = await requestJSON(new URL("lab", ROOT));
  } catch {
    return; // the page itself shows that the server is unreachable
  }
  if (lab.networks) new NetworkControl(element, onChange);
  else element.append(el("p", "", t("network.none_here")));
}

class NetworkControl {
  #element;
  #onChange;
  #timer; // until an interruption has ended
  #lease; // the proxy that the server leased to us: {id, port, network}
  #choice = select();
  #own = el("input", { className: "own-network", hidden: true, placeholder: "rtt=200ms,jitter=50ms" });
  #pause = button(t("network.pause", { seconds: PAUSE }), () => this.#interrupt("pause"));
  #unplug = button(t("network.unplug", { seconds: PAUSE }), () => this.#interrupt("unplug"));
  #hint = el("p");
  #state = el("p", "network-state");

  constructor(element, onChange) {
    this.#element = element;
    this.#onChange = onChange;
    this.#fill();
    this.#choice.addEventListener("change", () => this.#select());
    this.#own.addEventListener("change", () => this.#apply(this.#own.value));
    addEventListener("pagehide", () => this.#release());
    addEventListener("pageshow", ({ persisted }) => { if (persisted) this.#select(); });
    this.#show();
  }

  #fill() {
    const label = el("label", "", t("network.choose"), " ", this.#choice);
    this.#own.setAttribute("aria-label", t("network.own_label"));
    this.#state.setAttribute("role", "status");
    const line = el("p", "network-line", label, this.#own, this.#pause, this.#unplug);
    this.#element.append(line, this.#hint, this.#state);
  }

  #select() {
    const own = this.#choice.value === "own";
    this.#own.hidden = !own;
    if (own) this.#own.focus();
    else this.#apply(PRESETS[this.#choice.value]);
    this.#show();
  }

  #show(text = "") {
    clearTimeout(this.#timer);
    this.#hint.textContent = t(`network.look.${this.#choice.value}`);
    this.#pause.disabled = this.#unplug.disabled = !this.#lease;
    this.#state.textContent = text;
  }

  // --- requests to the server --------------------------------------------------------------------

  async #apply(text) {
    if (text === "none") {
      this.#release();
      this.#onChange(undefined);
      return this.#show();
    }
    await this.#try(async () => {
      const before = this.#lease?.id;
      this.#lease = await this.#change(text);
      // If it is the same port, open connections stay and meet the new conditions.
      if (this.#lease.id !== before) this.#onChange(baseAt(this.#lease.port));
      this.#showLease();
    });
  }

  #showLease() {
    const { network, port } = this.#lease;
    this.#show(t("network.now", { network, port }));
  }

  /** Change the conditions of our proxy, or lease another: an idle lease ends after a while. */
  async #change(network) {
    if (this.#lease) {
      try {
        return await requestJSON(networkUrl(this.#lease.id, "", { network }), { method: "PUT" });
      } catch (error) {
        if (error.code !== "no_network") throw error;
      }
    }
    return requestJSON(networkUrl("", "", { network }), { method: "POST" });
  }

  async #interrupt(how) {
    await this.#try(async () => {
      await request(networkUrl(this.#lease.id, how, { seconds: PAUSE }), { method: "POST" });
      this.#show(t(`network.after_${how}`, { seconds: PAUSE }));
      this.#timer = setTimeout(() => this.#showLease(), 1000 * PAUSE);
    });
  }

  async #try(action) {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.code === "no_network") this.#lease = undefined;
      this.#show(error.message);
    }
  }

  #release() {
    if (this.#lease) {
      fetch(networkUrl(this.#lease.id), { method: "DELETE", keepalive: true }).catch(() => {});
    }
    this.#lease = undefined;
  }
}

function networkUrl(id = "", verb = "", query = {}) {
  const url = new URL(["networks", id, verb].filter(Boolean).join("/"), ROOT);
  url.search = new URLSearchParams(query);
  return url;
}

function baseAt(port) {
  const base = new URL("/", location);
  base.port = port;
  return base;
}

function select() {
  const options = Object.entries(PRESETS).map(
    ([name, network]) => new Option(t(`network.choice.${name}`, { network }), name),
  );
  return el("select", "network-choice", ...options);
}

function button(text, onclick) {
  return el("button", { type: "button", disabled: true, onclick }, text);
}
