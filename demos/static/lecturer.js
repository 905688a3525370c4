// The lecturer's page: the lesson, the address for phones, rooms for groups, and resetting a room.  lecturer.html has the texts.

import { request, requestJSON, ROOT } from "./api.js";
import { byId } from "./dom.js";
import { explain, t } from "./i18n.js";
import { showGroupCards, showJoinAddress } from "./lecturer/join_codes.js";
import { takeKey } from "./lecturer/key.js";
import { showModeration } from "./lecturer/moderation.js";
import { Presenter } from "./lecturer/presenter.js";
import { gapText } from "./log.js";
import { fillFooter, fillHeader, TRANSPORTS, transportName } from "./page_layout.js";

const MAX_GROUPS = 24;

const key = takeKey();
const room = new URLSearchParams(location.search).get("room") || "lobby";

fillHeader();
fillFooter();
byId("room").value = room;
byId("choose").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const url = new URL(location);
  url.searchParams.set("room", byId("room").value);
  location.assign(url);
});

/** The path and query of a page in a room. */
function pagePath(page, room) {
  return `${page}?${new URLSearchParams({ room })}`;
}

// --- the lesson --------------------------------------------------------------------------------------

await new Presenter(room, key).start();

// --- the address for phones ------------------------------------------------------------------------

const target = byId("target");
target.append(new Option(t("classroom.target"), "demos/class.html"));
target.append(new Option(t("lecturer.target.lab"), "demos/lab.html"));
target.append(...TRANSPORTS.map((transport) => new Option(transportName(transport), `demos/${transport}.html`)));
const addresses = await fetchAddresses();

async function fetchAddresses() {
  try {
    return (await requestJSON(new URL("lab", ROOT))).addresses;
  } catch {
    return []; // the figures show the error
  }
}

function showAddresses() {
  showJoinAddress(addresses, pagePath(target.value, room));
  const groups = groupNames().map((name) => [name, pagePath(target.value, name)]);
  showGroupCards(byId("cards"), addresses, groups);
}

function groupNames() {
  const count = Math.min(MAX_GROUPS, Math.max(1, Math.floor(byId("count").valueAsNumber) || 1));
  // Short enough to type on a phone, and with digits that every keyboard has.
  return Array.from({ length: count }, (_, n) => `${room.slice(0, 60)}-${n + 1}`);
}

target.addEventListener("change", showAddresses);
byId("count").addEventListener("input", showAddresses);
byId("print").addEventListener("click", () => print());
showAddresses();

// --- resetting the room ----------------------------------------------------------------------------

showModeration(byId("moderation"), room, key);
byId("reset").disabled = !key;
byId("keyless").hidden = Boolean(key);
byId("reset").addEventListener("click", () => {
  byId("sure-title").textContent = t("lecturer.sure", { room });
  const line = gapText({ reason: "unknown", missed: null });
  byId("sure-sees").textContent = t("lecturer.sure_sees", { line });
  byId("sure").returnValue = ""; // Escape leaves the last value, which may be "yes"
  byId("sure").showModal();
});
byId("sure").addEventListener("close", () => { if (byId("sure").returnValue === "yes") resetRoom(); });

async function resetRoom() {
  const url = new URL(`rooms/${encodeURIComponent(room)}`, ROOT);
  url.search = new URLSearchParams({ key });
  const result = byId("reset-state");
  try {
    await request(url, { method: "DELETE" });
    result.textContent = t("lecturer.done", { room });
  } catch (error) {
    result.textContent = explain(error);
  }
}
