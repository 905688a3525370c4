// The workspace of a transport's page: the chat, the sequence diagram and the bytes, side by side.  They show
// one capture, stop and replay together, and mark what belongs together.

import { el } from "../dom.js";
import { t } from "../i18n.js";
import { Inflater } from "./inflate.js";
import { clock } from "./labels.js";
import { Links } from "./links.js";
import { Player } from "./player.js";
import { Sequence } from "./sequence.js";
import { WireView } from "./view.js";

/**
 * Show the records of `tap`: `sequence`, `wire` and `tools` are empty elements.  Returns the links, through
 * which the chat marks and is marked.
 */
export function showTraffic({ sequence, wire, tools }, tap) {
  const links = new Links();
  const diagram = new Sequence(sequence, { links, captured: tap.secret !== undefined });
  const bytes = new WireView(wire, { links });
  const views = [diagram, bytes];
  const player = new Player({
    feed: (record) => views.forEach((view) => view.feed(record)),
    entries: () => diagram.entries,
    onChange: () => {
      // The bytes first: the diagram marks some of them.
      views.toReversed().forEach((view) => view.play(player));
      bar.show();
    },
  });
  const bar = playerBar(tools, player, {
    start: () => diagram.entries[0]?.at,
    clear: () => {
      player.clear();
      views.forEach((view) => view.clear());
    },
  });
  const inflater = new Inflater((record) => player.feed(record));
  tap.on((record) => inflater.feed(record));
  addEventListener("keydown", ({ key }) => { if (key === "Escape") links.select(); });
  return links;
}

// --- the buttons -----------------------------------------------------------------------------------

function playerBar(element, player, { start, clear }) {
  const pause = button("pause", () => (player.state === "paused" ? player.resume() : player.pause()));
  const replay = button("replay", () => player.replay());
  const state = el("span", "player-state");
  state.setAttribute("role", "status");
  element.append(
    pause,
    button("back", () => player.back()),
    button("forward", () => player.forward()),
    replay,
    button("clear", clear),
    state,
  );

  function show() {
    pause.textContent = t(player.state === "paused" ? "player.resume" : "player.pause");
    const time = Number.isFinite(player.time) ? clock(player.time, start()) : "";
    state.textContent = t(`player.is.${player.state}`, { time });
  }
  show();
  return { show };
}

function button(name, onclick) {
  const title = t(`player.${name}_why`);
  return el("button", { type: "button", className: name, title, onclick }, t(`player.${name}`));
}
