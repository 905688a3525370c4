// What a lost packet holds back, as a model: packets leave at regular intervals, a lost one is sent again, and the
// receiver hands over what its protocol allows.  Pure, but for the drawing.

import { svgEl } from "../dom.js";
import { number, t } from "../i18n.js";

// In units of the interval between two packets.
const ONE_WAY = 2;
const RETRANSMISSION = 5; // until a lost packet has been noticed and sent again
const STREAMS = 3;
export const PACKETS = 9;

/** The ways of receiving: everything in one order, an order for each of three streams, or none. */
export const MODES = ["one_stream", "streams", "datagrams"];

/**
 * When each packet arrives and when the application receives it: `[{stream, arrived, delivered}]`.  `lost` is a Set
 * of indices of packets; a lost datagram has neither time.
 */
export function deliveries(mode, lost) {
  const packets = Array.from({ length: PACKETS }, (_, n) => ({
    stream: mode === "streams" ? n % STREAMS : 0,
    arrived: n + ONE_WAY + (lost.has(n) ? RETRANSMISSION : 0),
  }));
  if (mode === "datagrams") {
    return packets.map((packet, n) => (
      lost.has(n) ? { stream: 0 } : { ...packet, delivered: packet.arrived }
    ));
  }
  const latest = []; // of each stream: when its previous packet was delivered
  return packets.map(({ stream, arrived }) => {
    latest[stream] = Math.max(arrived, latest[stream] ?? 0);
    return { stream, arrived, delivered: latest[stream] };
  });
}

/** How many packets have arrived and wait for a lost one. */
export function heldBack(packets) {
  return packets.filter(({ arrived, delivered }) => delivered > arrived).length;
}

// --- the drawing -----------------------------------------------------------------------------------

const LEFT = 30;
const STEP = 26; // px of one interval
const ROW = 20;
const NAMES = "ABC";

/** Draw one way of receiving: a line per packet from its arrival to its delivery. */
export function drawDeliveries(svg, mode, lost) {
  const packets = deliveries(mode, lost);
  const end = PACKETS + ONE_WAY + RETRANSMISSION;
  const height = PACKETS * ROW + 8;
  svg.setAttribute("viewBox", `0 0 ${LEFT + end * STEP} ${height}`);
  svg.setAttribute("aria-label", t(`lesson.wt.mode.${mode}.label`, { held: number(heldBack(packets)) }));
  svg.replaceChildren(...packets.flatMap((packet, n) => shapes(packet, n, mode, lost.has(n))));
}

function shapes({ stream, arrived, delivered }, n, mode, isLost) {
  const x = (at) => LEFT + at * STEP;
  const y = n * ROW + ROW / 2 + 4;
  const name = mode === "streams" ? `${n + 1}${NAMES[stream]}` : `${n + 1}`;
  const found = [svgEl("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, name)];
  const sent = { x: x(n), y };
  const first = x(n + ONE_WAY);
  found.push(svgEl("line", { class: "flight", x1: sent.x, x2: isLost ? (sent.x + first) / 2 : first, y1: y, y2: y }));
  if (isLost) found.push(cross((sent.x + first) / 2, y));
  if (arrived === undefined) return found;
  if (isLost) found.push(svgEl("line", { class: "flight again", x1: x(arrived - ONE_WAY), x2: x(arrived), y1: y, y2: y }));
  if (delivered > arrived) {
    found.push(svgEl("line", { class: "waiting", x1: x(arrived), x2: x(delivered), y1: y, y2: y }));
  }
  return [...found, svgEl("circle", { cx: x(delivered), cy: y, r: 6 })];
}

function cross(x, y) {
  return svgEl("path", { class: "lost", d: `M${x - 5} ${y - 5}l10 10m0 -10l-10 10` });
}
