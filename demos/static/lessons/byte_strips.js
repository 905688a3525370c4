// One body, divided in three ways: a strip each for the lines, the HTTP chunks and the reads.  They are
// aligned byte by byte, so a boundary inside another unit is visible.

import { el } from "../dom.js";
import { number, t } from "../i18n.js";

// Each strip: its name on the page, and the boundaries that it shows.
const STRIPS = { lines: "lines", chunks: "chunks", pieces: "reads" };
// Fraction of the strip; a narrower block has no room for its number.
const MIN_LABELLED = 0.05;

export function drawStrips(box, result) {
  const end = Math.max(1, ...Object.values(STRIPS).map((units) => result[units].at(-1)?.to ?? 0));
  box.replaceChildren(...Object.entries(STRIPS).map(([name, units]) => strip(name, result[units], end)));
}

function strip(name, blocks, end) {
  const bar = el("div", `strip ${name}`, ...blocks.map((one) => block(one, end)));
  const title = t(`lesson.fetch.${name}`, { count: number(blocks.length) });
  return el("div", "", el("div", "strip-name", title), bar);
}

function block({ from, to }, end) {
  const share = (to - from) / end;
  const title = t("lesson.fetch.range", { from: number(from), to: number(to - 1) });
  const span = el("span", { title }, share > MIN_LABELLED ? number(to - from) : "");
  span.style.left = `${(100 * from) / end}%`;
  span.style.width = `${100 * share}%`;
  return span;
}
