// The shapes of the sequence diagram, as data: `{tag, class, text, parts}` and the attributes.
// Pure, so that a shape can be compared with the one that is drawn; svg_renderer.js creates the elements.

import { idleLabel, outageLabel } from "./labels.js";

const HEAD = 0.55; // em: the head of an arrow

export function lifelines({ columns, top, height }) {
  const d = (x) => `M${round(x)} ${round(top)}v${round(height)}`;
  const line = (name, x) => ({ tag: "path", class: `life ${name}`, d: d(x) });
  return { tag: "g", parts: [line("browser", columns.browser), line("server", columns.server)] };
}

export function barShape({ type }, { x, top, bottom }, em) {
  const width = 0.6 * em;
  return {
    tag: "rect", class: `bar ${type}`, x: round(x - width / 2), y: round(top),
    width: round(width), height: round(bottom - top), rx: 2,
  };
}

export function outageShape(outage, { top, bottom }, { browser }, em) {
  const height = Math.max(bottom - top, 0.3 * em);
  const x = round(browser - 0.4 * em);
  return {
    tag: "g",
    class: `outage ${outage.type}`,
    parts: [
      {
        tag: "rect", x, y: round(top), width: round(0.8 * em), height: round(height),
        fill: "url(#sequence-hatching)",
      },
      {
        tag: "text", x: round(browser + 0.8 * em), y: round(top + Math.min(height / 2, em) + 0.35 * em),
        text: outageLabel(outage),
      },
    ],
  };
}

export function idleShape(period, { browser, server }, em) {
  const y = round(period.y);
  const wave = (x) => `M${round(x - 0.5 * em)} ${y}l${round(0.33 * em)} ${round(-0.3 * em)}`
    + `l${round(0.34 * em)} ${round(0.6 * em)}l${round(0.33 * em)} ${round(-0.3 * em)}`;
  return {
    tag: "g",
    class: "idle",
    parts: [
      { tag: "path", d: wave(browser) + wave(server) },
      {
        tag: "text", x: round((browser + server) / 2), y: round(y + 0.35 * em),
        text: idleLabel(period),
      },
    ],
  };
}

export function arrowShape({ entry, y, yLast, yBrowser, x }, columns, em, words) {
  const end = x - (entry.type === "request" && !entry.count ? 0.65 * em : 0.3 * em);
  const parts = [
    { tag: "title", text: words.description },
    { tag: "text", class: "time", x: round(columns.time), y: round(y + 0.3 * em), text: words.time },
  ];
  if (!entry.direction) return mark(entry, y, x, columns, em, words, parts);
  const slope = { x1: columns.browser, y1: yBrowser, x2: end, y2: y };
  if (yLast > y) parts.push(band(slope, yLast - y));
  // A thin line is hard to hit with a finger, so an invisible broad one lies under it.
  parts.push({ tag: "path", class: "hit-area", d: shaft(slope) });
  parts.push({ tag: "path", class: "shaft", d: shaft(slope) });
  parts.push({ tag: "path", class: "head", d: head(slope, entry, em) });
  parts.push(arrowLabel(slope, columns, em, words));
  if (entry.type === "request" && !entry.count) parts.push(...badge(entry, x, y, em));
  return { tag: "g", class: classes(entry), parts };
}

function classes(entry) {
  const names = ["arrow", entry.direction, entry.type];
  if (entry.count) names.push("many");
  if (entry.wasted || entry.events === 0) names.push("empty");
  return names.join(" ");
}

// An entry without direction: a cross on the server's line, and a label.
function mark(entry, y, x, columns, em, words, parts) {
  const arm = round(0.4 * em);
  const cross = `M${round(x - 0.4 * em)} ${round(y - 0.4 * em)}l${2 * arm} ${2 * arm}`
    + `m0 ${-2 * arm}l${-2 * arm} ${2 * arm}`;
  const text = { tag: "text", class: "label", x: round(x - 0.9 * em), y: round(y + 0.3 * em) };
  const room = x - 0.9 * em - columns.browser;
  return {
    tag: "g",
    class: `arrow ${entry.type}`,
    parts: [...parts, { tag: "path", class: "cross", d: cross }, { ...text, text: fit(words.parts, room, em) }],
  };
}

function shaft({ x1, y1, x2, y2 }) {
  return `M${round(x1)} ${round(y1)}L${round(x2)} ${round(y2)}`;
}

function head({ x1, y1, x2, y2 }, { direction, count }, em) {
  const length = (count ? 1.8 : 1) * HEAD * em;
  const angle = Math.atan2(y2 - y1, x2 - x1) + (direction === "up" ? 0 : Math.PI);
  const [x, y] = direction === "up" ? [x2, y2] : [x1, y1];
  const corner = (turn) => {
    const [dx, dy] = [Math.cos(angle + turn), Math.sin(angle + turn)];
    return `${round(x - length * dx)} ${round(y - length * dy)}`;
  };
  return `M${corner(0.45)}L${round(x)} ${round(y)}L${corner(-0.45)}Z`;
}

// The time that the entries of an aggregate took.
function band({ x1, y1, x2, y2 }, height) {
  const corners = [[x1, y1], [x2, y2], [x2, y2 + height], [x1, y1 + height]];
  return { tag: "path", class: "band", d: `M${corners.map((at) => at.map(round).join(" ")).join("L")}Z` };
}

// Along its arrow, at the server's end, where neighbours are at least a row apart.
function arrowLabel({ x1, y1, x2, y2 }, columns, em, words) {
  const slope = (y2 - y1) / (x2 - x1);
  const x = columns.server - em;
  const place = `translate(${round(x)} ${round(y2 + slope * (x - x2))})`;
  const turn = `rotate(${round((Math.atan(slope) * 180) / Math.PI)})`;
  return {
    tag: "text", class: "label", transform: `${place} ${turn}`, y: round(-0.35 * em),
    text: fit(words.parts, x - columns.browser, em),
  };
}

function badge({ connection }, x, y, em) {
  return [
    { tag: "circle", class: "badge", cx: round(x), cy: round(y), r: round(0.65 * em) },
    { tag: "text", class: "badge", x: round(x), y: round(y + 0.3 * em), text: String(connection) },
  ];
}

// As many parts as fit; the last ones are the least important.
function fit(parts, room, em) {
  for (let count = parts.length; count > 1; count -= 1) {
    const text = parts.slice(0, count).join(" · ");
    if (widthOf(text) * em <= room) return text;
  }
  return parts[0];
}

// An estimate: Chinese characters are as wide as high, others about half of that.
function widthOf(text) {
  return [...text].reduce((sum, character) => sum + (character > "\u2e80" ? 1 : 0.54), 0);
}

function round(value) {
  return Math.round(value * 10) / 10;
}
