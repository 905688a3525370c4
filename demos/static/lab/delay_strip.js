// The latest delays of one transport on one line, short ones to the left.  The strips of all panes have the
// same scale, so they can be compared at a glance.

import { el } from "../dom.js";
import { prepare } from "./canvas.js";
import { positionOf, TICKS } from "./delay_scale.js";

const RADIUS = 3;
// There is no room for more units.
const LABELS = { 1: "1 ms", 10: "10", 100: "100", 1000: "1 s", 10_000: "10 s" };

/** Draw `delays`, in ms; `median` gets a line. */
export function drawDelayStrip(canvas, delays, median) {
  const { context, width, height } = prepare(canvas);
  const xOf = (delay) => RADIUS + positionOf(delay) * (width - 2 * RADIUS);
  // A canvas cannot use CSS variables, so lab.css puts the colours on the element.
  const { borderTopColor: lineColor, color: dotColor } = getComputedStyle(canvas);
  context.fillStyle = lineColor;
  for (const tick of TICKS) context.fillRect(Math.round(xOf(tick)), 0, 1, height);
  context.fillStyle = dotColor;
  context.globalAlpha = 0.45;
  for (const delay of delays) {
    context.beginPath();
    context.arc(xOf(delay), height / 2, RADIUS, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
  if (median !== undefined) context.fillRect(xOf(median) - 1.5, 2, 3, height - 4);
}

/** The labels of the scale, for an element of the same width. */
export function stripLabels() {
  return TICKS.map((tick) => {
    const label = el("b", "", LABELS[tick]);
    label.style.left = `${100 * positionOf(tick)}%`;
    return label;
  });
}
