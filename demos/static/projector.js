// The projected window: it shows what the lecturer's window says, and measures the class.
//
// The two share a BroadcastChannel and localStorage, so either may be reloaded.  The key comes over the
// channel, and is in no address that a class could read.

import { requestJSON, ROOT } from "./api.js";
import { classChannel } from "./classroom/channel.js";
import { ClassFigures } from "./classroom/figures.js";
import { FiguresTable } from "./classroom/figures_table.js";
import { EXPERIMENTS, stepsWith, textOf } from "./classroom/lesson.js";
import { deliveryOf } from "./classroom/measure.js";
import { VoteView } from "./classroom/vote_view.js";
import { byId, el } from "./dom.js";
import { language, number, t } from "./i18n.js";
import { codeUrl, joinPath, linkTo } from "./lecturer/join_codes.js";

const room = new URLSearchParams(location.search).get("room") || "lobby";
const channel = classChannel(room, onMessage);
const VIEWS = ["wait", "join", "question", "page", "class", "vote"];
const VOTE_BEATS = ["vote", "bars", "result"];
const PAGE_SCALE = 1.65; // at least: 17 px become 28
const PAGE_WIDTH = 1280 / PAGE_SCALE;

let plan, lab;
let state = channel.state();
let key;
const table = new FiguresTable(byId("figures"));
const figures = new ClassFigures(room, showFigures);
const vote = new VoteView(room, figures);

function onMessage(message) {
  if (message.key !== undefined) ({ key } = message);
  if (message.state) ({ state } = message);
  if (plan && (message.state || message.key !== undefined)) show();
}

// --- what is shown -----------------------------------------------------------------------------------

function show() {
  const step = state && stepsWith(plan.steps, state.extra)[state.step];
  if (!step) return showView("wait");
  byId("title").textContent = textOf(step.title, language);
  byId("ask").textContent = step.ask ? textOf(step.ask, language) : "";
  showView(viewOf(step, state.name));
  showPage(step);
  figures.measure({ ...state, key });
  vote.show(state.vote, state.name === "result");
}

function viewOf(step, beat) {
  if (VOTE_BEATS.includes(beat)) return "vote";
  return beat === "run" ? "class" : step.show;
}

function showView(name) {
  for (const view of VIEWS) byId(`view-${view}`).hidden = view !== name;
}

// The frame keeps its page while another beat of the same step is shown.
function showPage({ page }) {
  const name = t("classroom.projector.name"); // the page joins the room: its members see who this is
  const query = new URLSearchParams({ room: state.room, lang: language, name });
  const source = page ? new URL(`demos/${page}.html?${query}`, ROOT).href : "about:blank";
  const frame = byId("page");
  if (frame.dataset.source !== source) {
    frame.dataset.source = source;
    frame.src = source;
  }
}

// A page has the same width in CSS pixels on every large screen, so its text is as large a part of it.
function scalePage() {
  const scale = Math.max(PAGE_SCALE, innerWidth / PAGE_WIDTH);
  document.documentElement.style.setProperty("--scale", scale);
}

function showAddress() {
  const [address] = lab.addresses;
  for (const id of ["code", "join", "address"]) byId(id).hidden = !address;
  byId("closed").hidden = Boolean(address);
  if (!address) return;
  byId("code").src = codeUrl(joinPath(room));
  byId("address").replaceChildren(linkTo(new URL(joinPath(room), address)));
}

// --- the figures -------------------------------------------------------------------------------------

function showFigures({ rows, phones, run, left, frozen, silent, error }) {
  byId("phones").textContent = t("classroom.projector.phones", { count: number(phones) });
  byId("trouble").textContent = error?.message ?? "";
  byId("view-class").classList.toggle("frozen", frozen);
  byId("run-name").textContent = t(`classroom.run.${run.kind}`);
  byId("run-state").textContent = stateText(run, left, frozen);
  table.show(rows, run);
  const { messages } = EXPERIMENTS[run.kind] ?? {};
  const note = frozen ? deliveryOf(rows, messages) : {};
  byId("figures-note").textContent = silent
    ? t("classroom.silent_workers", { count: number(silent) })
    : note.what ? t(`classroom.${note.what}`, { phones: number(note.phones) }) : "";
  vote.measured(frozen ? rows : undefined, run);
  channel.send({ phones, frozen: frozen ? run.id : undefined });
}

function stateText({ kind }, left, frozen) {
  if (frozen) return t("classroom.run.frozen");
  return kind === "live" ? t("classroom.run.live_state") : t("classroom.run.left", { seconds: number(Math.ceil(left)) });
}

// --- keys --------------------------------------------------------------------------------------------

// With one screen, this window has the keyboard: it passes the keys on.
addEventListener("keydown", ({ key: pressed, ctrlKey, altKey, metaKey }) => {
  if (ctrlKey || altKey || metaKey) return;
  if (pressed === "f") document.documentElement.requestFullscreen?.().catch(() => {});
  else channel.send({ press: pressed });
});

// --- start -------------------------------------------------------------------------------------------

scalePage();
addEventListener("resize", scalePage);
try {
  [plan, lab] = await Promise.all(["plan", "lab"].map((path) => requestJSON(new URL(path, ROOT))));
  showAddress();
  channel.send({ hello: true });
  show();
} catch (error) {
  byId("trouble").replaceChildren(el("span", "", error.message));
}
