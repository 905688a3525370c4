// The page of a capture file: the sequence diagram and the bytes, without a chat.  As one file (wire/single_file.js)
// it has the capture in itself, and needs no server.

import { byId, el } from "./dom.js";
import { t, translate } from "./i18n.js";
import { addPreferences } from "./preferences.js";
import { readPcapng } from "./wire/pcapng_reader.js";
import { showTraffic } from "./wire/workspace.js";

const elements = { sequence: byId("sequence"), wire: byId("wire"), tools: byId("player") };
const { open } = showTraffic(elements, undefined, { onOpen: explainTransports });

const embedded = byId("embedded-capture");
if (embedded) {
  addPreferences(document.querySelector("header"));
  const bytes = Uint8Array.from(atob(embedded.textContent), (character) => character.charCodeAt());
  await open(`${embedded.dataset.name}.pcapng`, readPcapng(bytes));
} else {
  const { fillFooter, fillHeader } = await import("./page_layout.js");
  document.body.append(el("footer", "", el("span", { id: "hub" })));
  fillHeader();
  fillFooter();
}

// What each transport in the file is.  The names are those of the file, so they can be anything.
function explainTransports(records) {
  const names = [...new Set(records.map(({ transport }) => transport))].filter(isKnown);
  document.body.dataset.transport = names[0] ?? "";
  byId("ideas").replaceChildren(...names.map((name) => {
    const idea = el("p");
    idea.dataset.i18n = `page.${name}.idea`;
    return el("section", "", el("h2", "", t(`page.${name}.name`)), idea);
  }));
  translate(byId("ideas"));
}

function isKnown(name) {
  return /^\w+$/.test(name ?? "") && t(`page.${name}.idea`) !== `page.${name}.idea`;
}
