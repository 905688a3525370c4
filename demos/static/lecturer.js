// The lecturer's page: an order for a lesson, large figures of the class's room, the way in for phones,
// rooms for groups, and beginning a room anew.  What is in the page is in lecturer.html.

import { address, ask, askJSON } from "./ask.js";
import { showCards, showEntrance } from "./lecturer/entrance.js";
import { Figures } from "./lecturer/figures.js";
import { takeKey } from "./lecturer/key.js";
import { fillFoot, fillHeader, TRANSPORTS } from "./skeleton.js";
import { t } from "./words.js";

const at = (id) => document.getElementById(id);
const key = takeKey();
const room = new URLSearchParams(location.search).get("room") || "lobby";

fillHeader();
fillFoot();
at("room").value = room;
at("choose").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const url = new URL(location);
  url.searchParams.set("room", at("room").value);
  location.assign(url);
});

/** A page of ours in a room, as what follows the host in a URL. */
function placeOf(page, room) {
  return `${page}?${new URLSearchParams({ room })}`;
}

for (const link of document.querySelectorAll("a.go")) {
  link.href = placeOf(link.getAttribute("href"), room);
}

// --- the way in ----------------------------------------------------------------------------------

const target = at("target");
target.append(new Option(t("lecturer.target.lab"), "/"));
target.append(...TRANSPORTS.map((way) => new Option(way, `/demos/${way}.html`)));
target.value = "/demos/websocket.html"; // what a phone does best
const addresses = await findAddresses();

async function findAddresses() {
  try {
    return (await askJSON(new URL("/lab", location))).addresses;
  } catch {
    return []; // the figures tell of the trouble
  }
}

function showWays() {
  showEntrance(addresses, placeOf(target.value, room));
  const places = groups().map((name) => [name, placeOf(target.value, name)]);
  showCards(at("cards"), addresses, places);
}

function groups() {
  const count = Math.min(24, Math.max(1, Math.floor(at("count").valueAsNumber) || 1));
  // A name in one script for all, and short enough to be typed on a phone.
  return Array.from({ length: count }, (_, n) => `${room.slice(0, 60)}-${n + 1}`);
}

target.addEventListener("change", showWays);
at("count").addEventListener("input", showWays);
at("print").addEventListener("click", () => print());
showWays();

// --- the figures -----------------------------------------------------------------------------------

new Figures(room).begin();

function fill(whole) {
  document.body.classList.toggle("only-figures", whole);
  if (whole) document.documentElement.requestFullscreen?.().catch(() => {}); // the page fills the window all the same
  else if (document.fullscreenElement) document.exitFullscreen();
  at(whole ? "back" : "full").focus();
}

at("full").addEventListener("click", () => fill(true));
at("back").addEventListener("click", () => fill(false));
// Escape leaves the full screen without a click of ours.
document.addEventListener("fullscreenchange", () => { if (!document.fullscreenElement) fill(false); });
addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && document.body.classList.contains("only-figures")) fill(false);
});

// --- beginning anew --------------------------------------------------------------------------------

at("reset").disabled = !key;
at("keyless").hidden = Boolean(key);
at("reset").addEventListener("click", () => {
  at("sure-title").textContent = t("lecturer.sure", { room });
  at("sure").returnValue = ""; // Escape is no answer
  at("sure").showModal();
});
at("sure").addEventListener("close", () => { if (at("sure").returnValue === "yes") beginAnew(); });

async function beginAnew() {
  const said = at("reset-said");
  try {
    await ask(new URL(`${address(room, "").pathname.slice(0, -1)}?${new URLSearchParams({ key })}`, location), { method: "DELETE" });
    said.textContent = t("lecturer.done", { room });
  } catch (trouble) {
    said.textContent = trouble.message;
  }
}
