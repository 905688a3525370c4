// The buttons that save what is shown in a file, and open such a file.

import { el } from "../dom.js";
import { number, t, translate } from "../i18n.js";
import { withCaptions } from "./captions.js";
import { HarBuilder } from "./har.js";
import { Inflater } from "./inflate.js";
import { writePcapng } from "./pcapng.js";
import { CaptureError, MAX_FILE_BYTES, readPcapng } from "./pcapng_reader.js";
import { loadPart, singleFile } from "./single_file.js";

// A page in one file has no server that would send its parts once more.
const HAS_SERVER = location.protocol !== "file:";

const MARKUP = `
  <h3 data-i18n="capture.heading">Capture file</h3>
  <p data-i18n="capture.what">What is shown, in a file. Secrets in it are asterisks; the texts and names of the chat are in it.</p>
  <dl>
    <div><dt><button type="button" data-format="pcapng" data-i18n="capture.save.pcapng">Save as pcapng</button></dt>
    <dd data-i18n="capture.save.pcapng_why">For Wireshark, and to open it here again. The headers and handshakes of TCP are synthesised.</dd></div>
    <div><dt><button type="button" data-format="har" data-i18n="capture.save.har">Save as HAR</button></dt>
    <dd data-i18n="capture.save.har_why">For the network panel of a browser (F12): requests, times, sizes, messages of a WebSocket.</dd></div>
    <div><dt><button type="button" data-format="html" data-i18n="capture.save.html">Save as a page</button></dt>
    <dd data-i18n="capture.save.html_why">For home: the diagram and the bytes in one HTML file, which needs no server and no network.</dd></div>
    <div><dt><label><span data-i18n="capture.open">Open a file:</span> <input type="file" accept=".pcapng"></label></dt>
    <dd data-i18n="capture.open_why">A pcapng file that was saved here, or by the command realtime capture.</dd></div>
  </dl>
  <p class="capture-error" role="alert"></p>
  <p><button type="button" class="quiet" data-i18n="capture.close">Close</button></p>`;

export class CaptureTools {
  /** What belongs into the row of buttons. */
  elements;
  #menu = el("div", { id: "capture-menu", className: "capture-menu", popover: "auto", role: "dialog" });
  #name = el("span", "capture-name");
  #back;
  #records;
  #fileName;
  #open;

  /**
   * `records()` are those that are shown, `fileName()` is the name of the open file, `open(name, records)` shows
   * another, and `close()` shows the live traffic again, where there is any.
   */
  constructor({ records, fileName, open, close }) {
    this.#records = records;
    this.#fileName = fileName;
    this.#open = open;
    this.#menu.innerHTML = MARKUP;
    translate(this.#menu);
    this.#menu.ariaLabel = t("capture.heading");
    const button = el("button", { type: "button", className: "capture" }, t("capture.heading"));
    button.popoverTargetElement = this.#menu;
    this.#back = el("button", { type: "button", className: "to-live", onclick: close, hidden: true }, t("capture.to_live"));
    this.elements = [button, this.#menu, this.#name, ...(close ? [this.#back] : [])];
    this.#listen();
  }

  /** Say which file is open. */
  show() {
    const name = this.#fileName();
    this.#name.textContent = name ?? "";
    this.#back.hidden = name === undefined;
  }

  #listen() {
    const input = this.#menu.querySelector("input");
    input.addEventListener("change", () => this.#try(() => this.#openFile(input)));
    this.#menu.querySelector(".quiet").addEventListener("click", () => this.#menu.hidePopover());
    this.#menu.addEventListener("toggle", () => this.#say(""));
    for (const button of this.#menu.querySelectorAll("[data-format]")) {
      if (button.dataset.format === "html" && !HAS_SERVER) button.closest("div").remove();
      button.addEventListener("click", () => this.#try(() => this.#save(button.dataset.format)));
    }
  }

  async #try(action) {
    this.#say("");
    try {
      await action();
    } catch (error) {
      const code = error instanceof CaptureError ? error.code : "failed";
      this.#say(t(`capture.error.${code}`, { megabytes: number(MAX_FILE_BYTES / 2 ** 20) }));
    }
  }

  #say(text) {
    this.#menu.querySelector(".capture-error").textContent = text;
  }

  async #openFile(input) {
    const [file] = input.files;
    input.value = ""; // so that the same file can be chosen again
    if (!file) return;
    if (file.size > MAX_FILE_BYTES) throw new CaptureError("too_large");
    const records = readPcapng(new Uint8Array(await file.arrayBuffer()));
    await this.#open(file.name, records);
    this.#menu.hidePopover();
  }

  async #save(format) {
    const records = this.#records();
    if (!records.some(({ at }) => at !== undefined)) throw new CaptureError("nothing");
    download(`${nameOf(records)}.${format}`, await SAVE[format](records));
  }
}

const SAVE = {
  pcapng: (records) => new Blob([writePcapng(withCaptions(records))], { type: "application/vnd.tcpdump.pcap" }),
  har: async (records) => {
    const builder = new HarBuilder();
    const inflater = new Inflater((record) => builder.feed(record));
    records.forEach((record) => inflater.feed(record));
    await inflater.flush();
    return new Blob([JSON.stringify(builder.log, undefined, 1)], { type: "application/json" });
  },
  html: async (records) => {
    const page = await singleFile(loadPart, nameOf(records), writePcapng(records));
    return new Blob([page], { type: "text/html" });
  },
};

// As "realtime-sse-20261129-0812".
function nameOf(records) {
  const { at, transport } = records.find((record) => record.at !== undefined);
  const date = new Date(at);
  const parts = [date.getFullYear(), date.getMonth() + 1, date.getDate(), date.getHours(), date.getMinutes()];
  const [year, month, day, hours, minutes] = parts.map((part) => String(part).padStart(2, "0"));
  return `realtime-${transport?.replace(/\W/g, "_") || "capture"}-${year}${month}${day}-${hours}${minutes}`;
}

function download(name, blob) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  // The browser reads it after the click.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
