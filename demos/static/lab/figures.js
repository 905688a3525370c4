// How the lab writes its figures: with few digits, because they are read from the back row.

import { number } from "../i18n.js";

export function milliseconds(value) {
  if (value === undefined) return "–";
  if (value < 999.5) return `${number(value, digits(value < 10 ? 1 : 0))} ms`;
  return `${number(value / 1000, digits(value < 10_000 ? 2 : 1))} s`;
}

export function bytes(value) {
  if (value < 10_000) return `${number(value, digits(0))} B`;
  if (value < 1_000_000) return `${number(value / 1000, digits(1))} kB`;
  return `${number(value / 1_000_000, digits(2))} MB`;
}

/** A ratio that may be far below one: two significant digits. */
export function ratio(value) {
  return number(value, value < 100 ? { maximumSignificantDigits: 2 } : digits(0));
}

/** Change the text of an element only if it differs: the same text would also cost a layout. */
export function setText(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

function digits(count) {
  return { minimumFractionDigits: count, maximumFractionDigits: count };
}
