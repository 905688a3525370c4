// The workspace of a transport's page: the chat, the sequence diagram and the bytes, side by side.  They show
// one capture, stop and replay together, and mark what belongs together.  The capture is the live traffic, or
// a file that was saved here.

import { el } from "../dom.js";
import { t } from "../i18n.js";
import { CaptureTools } from "./capture_tools.js";
import { Inflater } from "./inflate.js";
import { clock } from "./labels.js";
import { Links } from "./links.js";
import { Player } from "./player.js";
import { Recorder } from "./recorder.js";
import { Sequence } from "./sequence.js";
import { WireView } from "./view.js";

/**
 * Show the records of `tap`, if there is one: `sequence`, `wire` and `tools` are empty elements.  Returns
 * `{links, open}`: through the links the chat marks and is marked; `open(name, records)` shows a capture file.
 * `onOpen(records)` is called when one is shown, however it was opened.
 */
export function showTraffic({ sequence, wire, tools }, tap, { onOpen = () => {} } = {}) {
  const links = new Links();
  const diagram = new Sequence(sequence, { links, root: tap?.root });
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
  const recorder = new Recorder(tap?.secret ?? "");
  const isOpen = { open: false }; // the last record of its kind
  let file; // {name, records}
  let inflater = newInflater();

  function newInflater() {
    const created = new Inflater((record) => {
      if (created === inflater) player.feed(record);
    });
    return created;
  }

  async function show(records) {
    const isFile = file !== undefined;
    player.clear();
    links.clear();
    views.forEach((view) => view.reset({ isFile }));
    inflater = newInflater();
    for (const record of isFile ? records : [...records, isOpen]) inflater.feed(record);
    await inflater.flush();
    bar.show();
    captureTools.show();
  }

  async function open(name, records) {
    file = { name, records };
    onOpen(records);
    await show(records);
  }

  const source = () => (file ? "ended" : tap ? "live" : "empty");
  const captureTools = new CaptureTools({
    // What is shown: while it is paused, more has been recorded.
    records: () => (file?.records ?? recorder.records).filter(({ at }) => !(at > player.time)),
    fileName: () => file?.name,
    open,
    close: tap && (() => {
      file = undefined;
      return show(recorder.records);
    }),
  });
  const bar = playerBar(tools, player, {
    start: () => diagram.entries[0]?.at,
    state: () => (player.state === "live" ? source() : player.state),
    clear: () => {
      player.clear();
      if (file) file.records = [];
      else recorder.clear();
      views.forEach((view) => view.clear());
    },
    more: captureTools.elements,
  });
  tap?.on((record) => {
    Object.assign(isOpen, record.open !== undefined && record);
    recorder.feed(record);
    if (!file) inflater.feed(record);
  });
  addEventListener("keydown", ({ key }) => { if (key === "Escape") links.select(); });
  return { links, open };
}

// --- the buttons -----------------------------------------------------------------------------------

function playerBar(element, player, { start, state: stateOf, clear, more }) {
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
    ...more,
    state,
  );

  function show() {
    pause.textContent = t(player.state === "paused" ? "player.resume" : "player.pause");
    const time = Number.isFinite(player.time) ? clock(player.time, start()) : "";
    state.textContent = t(`player.is.${stateOf()}`, { time });
  }
  show();
  return { show };
}

function button(name, onclick) {
  const title = t(`player.${name}_why`);
  return el("button", { type: "button", className: name, title, onclick }, t(`player.${name}`));
}
