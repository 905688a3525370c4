// One body, cut three times: a strip for the lines, one for the chunks, one for the pieces.  They lie
// under each other, byte by byte, so that one sees where a cut goes through the middle of another.

import { number, t } from "../words.js";
import { make } from "../make.js";

const STRIPS = ["lines", "chunks", "pieces"];
// Narrower than this part of the strip, a block has no room for its number.
const WRITABLE = 0.05;

export function drawStrips(box, seen) {
  const end = Math.max(1, ...STRIPS.map((name) => seen[name].at(-1)?.to ?? 0));
  box.replaceChildren(...STRIPS.map((name) => strip(name, seen[name], end)));
}

function strip(name, blocks, end) {
  const bar = make("div", `strip ${name}`, ...blocks.map((one) => block(one, end)));
  const title = t(`lesson.fetch.${name}`, { count: number(blocks.length) });
  return make("div", "", make("div", "strip-name", title), bar);
}

function block({ from, to }, end) {
  const share = (to - from) / end;
  const made = make("span", "", share > WRITABLE ? number(to - from) : "");
  made.title = t("lesson.fetch.range", { from: number(from), to: number(to - 1) });
  made.style.left = `${(100 * from) / end}%`;
  made.style.width = `${100 * share}%`;
  return made;
}
