// Network conditions: the server leases a proxy to this page, at its own port, and the page's
// transports connect through it.  The page can change, pause and disconnect it meanwhile.

import { ApiError, request, requestJSON, ROOT, withSecret } from "./api.js";
import { el } from "./dom.js";
import { explain, t } from "./i18n.js";
import { pageClient } from "./identity.js";

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
  loss: "rtt=100ms,loss=5%",
  own: "",
};
const PAUSE = 5; // seconds
const CHECK_INTERVAL = 10_000; // ms

/**
 * Fill `element` with the control, and `texts` with what to watch for and what is in effect.
 * `onChange(base)` receives the URL of the port to use from now on, or undefined for the page's own port.
 */
export async function networkControl(element, onChange, texts = element) {
  let lab;
  try {
    lab = await requestJSON(new URL("lab", ROOT));
  } catch {
    return; // the page itself shows that the server is unreachable
  }
  if (lab.networks) new NetworkControl(element, texts, lab.networks, onChange);
  else element.append(el("p", "", t("network.none_here")));
}

class NetworkControl {
  #count;
  #onChange;
  #applied = "none"; // the preset in effect
  #recovery; // the timer of an interruption
  #queue = Promise.resolve(); // the last change
  #lease; // the proxy that the server leased to us: {id, port, network}
  #choice = select();
  #own = el("input", { className: "own-network", hidden: true, placeholder: "rtt=200ms,loss=2%" });
  #pause = button(t("network.pause", { seconds: PAUSE }), () => this.#interrupt("pause"));
  #unplug = button(t("network.unplug", { seconds: PAUSE }), () => this.#interrupt("unplug"));
  #hint = el("p", "network-hint");
  #state = el("p", "network-state");

  constructor(element, texts, count, onChange) {
    this.#count = count;
    this.#onChange = onChange;
    this.#fill(element, texts);
    this.#choice.addEventListener("change", () => this.#select());
    this.#own.addEventListener("change", () => this.#apply(this.#own.value));
    addEventListener("pagehide", () => this.#release());
    addEventListener("pageshow", ({ persisted }) => { if (persisted) this.#select(); });
    setInterval(() => this.#check(), CHECK_INTERVAL);
    this.#show("");
  }

  #fill(element, texts) {
    const label = el("label", "", t("network.choose"), " ", this.#choice);
    this.#own.setAttribute("aria-label", t("network.own_label"));
    this.#state.setAttribute("role", "status");
    const line = el("p", "network-line", label, this.#own, this.#pause, this.#unplug);
    element.append(line);
    texts.append(this.#hint, this.#state);
  }

  #select() {
    const own = this.#choice.value === "own";
    this.#own.hidden = !own;
    if (own) this.#own.focus();
    else this.#apply(PRESETS[this.#choice.value]);
    this.#show(own ? this.#inEffect() : "");
  }

  #show(text) {
    clearTimeout(this.#recovery);
    this.#hint.textContent = t(`network.look.${this.#choice.value}`);
    this.#pause.disabled = this.#unplug.disabled = !this.#lease;
    this.#state.textContent = text;
  }

  /** What the traffic really goes through. */
  #inEffect() {
    if (!this.#lease) return t("network.direct");
    return t("network.now", { network: this.#lease.network, port: this.#lease.port });
  }

  // --- requests to the server --------------------------------------------------------------------

  // One after the other: two requests at once could lease two networks.
  #apply(text) {
    const choice = this.#choice.value;
    this.#queue = this.#queue.then(() => this.#try(() => this.#change(text, choice)));
  }

  async #change(network, choice) {
    if (network === "none") {
      this.#release();
      this.#onChange(undefined);
    } else {
      const before = this.#lease?.id;
      this.#lease = await this.#request(network);
      // If it is the same port, open connections stay and meet the new conditions.
      if (this.#lease.id !== before) this.#onChange(baseAt(this.#lease.port));
    }
    this.#applied = choice;
    this.#show(this.#lease ? this.#inEffect() : "");
  }

  /** Change the conditions of our proxy, or lease another: an idle lease ends after a while. */
  async #request(network) {
    if (this.#lease) {
      try {
        return await requestJSON(networkUrl(this.#lease.id, "", { network }), { method: "PUT" });
      } catch (error) {
        if (error.code !== "no_network") throw error;
        this.#end();
      }
    }
    return requestJSON(networkUrl("", "", withSecret({ network, client: pageClient() })), { method: "POST" });
  }

  async #interrupt(how) {
    await this.#try(async () => {
      await request(networkUrl(this.#lease.id, how, { seconds: PAUSE }), { method: "POST" });
      this.#show(t(`network.after_${how}`, { seconds: PAUSE }));
      this.#recovery = setTimeout(() => this.#show(this.#inEffect()), PAUSE * 1000);
    });
  }

  // The server may give a lease to another address that has fewer.  Our connections then fail, and the menu
  // would still show a network.
  async #check() {
    if (!this.#lease) return;
    try {
      await request(networkUrl(this.#lease.id));
    } catch (error) {
      if (error.code === "no_network") this.#fail(error);
    }
  }

  async #try(action) {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#fail(error);
    }
  }

  /** Show why nothing has changed, and what is in effect: in the menu too, unless its text can be corrected. */
  #fail(error) {
    if (error.code === "no_network") this.#end();
    if (error.code !== "bad_network") this.#choice.value = this.#applied;
    this.#own.hidden = this.#choice.value !== "own";
    const why = error.code === "busy" ? t("network.all_in_use", { count: this.#count }) : explain(error);
    this.#show(`${why} ${this.#inEffect()}`);
  }

  // The lease has ended: connect directly.
  #end() {
    this.#lease = undefined;
    this.#applied = "none";
    this.#onChange(undefined);
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
