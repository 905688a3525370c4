// The table of a measurement: a row per transport.

import { el } from "../dom.js";
import { number, t } from "../i18n.js";
import { TCP_TRANSPORTS, transportLabel } from "../page_layout.js";
import { EXPERIMENTS } from "./lesson.js";

const COLUMNS = ["phones", "requests", "bytes", "received", "delay"];

export class FiguresTable {
  #rows = new Map();

  constructor(table) {
    for (const transport of TCP_TRANSPORTS) {
      const name = el("th", { scope: "row" }, transportLabel(transport));
      const cells = COLUMNS.map((column) => el("td", column, "–"));
      const row = el("tr", "", name, ...cells);
      row.dataset.via = transport;
      this.#rows.set(transport, { row, cells });
    }
    table.tBodies[0].append(...[...this.#rows.values()].map(({ row }) => row));
  }

  show(rows, { kind }) {
    const sent = EXPERIMENTS[kind]?.messages;
    for (const [transport, { row, cells }] of this.#rows) {
      const figures = rows[transport];
      row.classList.toggle("absent", !figures.phones);
      const texts = figureTexts(figures, sent);
      COLUMNS.forEach((column, n) => { cells[n].textContent = texts[column]; });
    }
  }
}

/** The figures of a transport as text; without phones there are none. */
export function figureTexts({ phones, requests, bytes, received, delay }, sent) {
  const text = (value, write) => (value === undefined ? "–" : write(value));
  return {
    phones: number(phones),
    requests: text(requests, (value) => number(value, { maximumFractionDigits: value < 10 ? 1 : 0 })),
    bytes: text(bytes, size),
    received: text(received, (value) => receivedText(value, sent)),
    delay: text(delay, (value) => t("classroom.ms", { ms: number(Math.round(value)) })),
  };
}

function receivedText(value, sent) {
  const shown = number(value, { maximumFractionDigits: 1 });
  return sent ? t("classroom.received_of", { received: shown, sent: number(sent) }) : shown;
}

function size(bytes) {
  return bytes < 10_000
    ? t("lecturer.b", { size: number(Math.round(bytes)) })
    : t("lecturer.kb", { size: number(bytes / 1000, { maximumFractionDigits: 0 }) });
}
