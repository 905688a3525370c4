// All figures of one transport, in a dialog that its row opens.

import { el } from "../dom.js";
import { number, t } from "../i18n.js";
import { setText } from "./figures.js";

// By topic: the delay, the cost, the audit.
const TOPICS = {
  delay: ["p50", "p95", "p99"],
  cost: ["open", "requests", "down", "up", "bytes_each", "requests_each"],
  audit: ["received", "inFlight", "missing", "duplicated", "reordered", "gaps"],
};
const FAULTS = ["missing", "duplicated", "reordered", "gaps"];

export class Details {
  #fields = {};

  /** `elements` are the button and the dialog of the transport called `name`; `page` is its page's URL. */
  constructor(name, page) {
    const dialog = el("dialog", "details");
    const title = t("lab.details_of", { transport: name });
    dialog.setAttribute("aria-label", title);
    const close = el("button", { type: "button", onclick: () => dialog.close() }, t("lab.close"));
    const link = el("a", { href: page }, t("lab.page_of", { transport: name }));
    const topics = Object.entries(TOPICS).map(([topic, names]) => this.#topic(topic, names));
    dialog.append(el("h3", "", title), ...topics, el("p", "end", link, close));
    // A click beside the dialog closes it, as users expect: only there is the dialog itself the target.
    dialog.addEventListener("click", ({ target }) => { if (target === dialog) dialog.close(); });

    const open = el("button", { type: "button", className: "more", onclick: () => dialog.showModal() }, "…");
    open.setAttribute("aria-label", title);
    open.title = title;
    this.elements = [open, dialog];
  }

  #topic(topic, names) {
    const list = el("dl");
    for (const name of names) {
      const value = el("dd");
      list.append(el("div", `figure ${name}`, el("dt", "", t(`lab.figure.${name}`)), value));
      this.#fields[name] = value;
    }
    return el("section", "", el("h4", "", t(`lab.topic.${topic}`)), el("p", "small", t(`lab.topic_why.${topic}`)), list);
  }

  /** `values` are texts and counts by name; the rest is in the audit. */
  show(values, audit) {
    for (const [name, field] of Object.entries(this.#fields)) {
      const value = values[name] ?? audit[name];
      setText(field, typeof value === "number" ? number(value) : value);
      field.dataset.wrong = FAULTS.includes(name) && value > 0;
    }
  }
}
