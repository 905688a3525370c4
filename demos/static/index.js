// The lab: all transports side by side in one room, with one input, and one client in the server's
// books.  Here only the parts are put together; each of them is in lab/.

import { address, askJSON } from "./ask.js";
import { showExercises } from "./exercises.js";
import { Ledger } from "./lab/audit.js";
import { keptHere, laneOf, SIX, starve } from "./lab/lanes.js";
import { Pane } from "./lab/pane.js";
import { Race } from "./lab/race.js";
import { Sender } from "./lab/sender.js";
import { chooseName, rememberName } from "./luggage.js";
import { networkControl } from "./networks.js";
import { uuid } from "./send.js";
import { fillFoot, fillHeader, TRANSPORTS } from "./skeleton.js";
import { number, t, translate } from "./words.js";

const DRAW = 100; // ms between two pictures: faster than an eye reads figures
const COUNT = 1000; // ms between two questions about bytes
const RATES = [1, 2, 5, 10, 20, 50, 100, 200];

const at = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);
const room = asked.get("room") || "lobby";
const name = chooseName(asked.get("name"));
const client = uuid();

translate();
fillHeader();
fillFoot();
at("room").value = room;
at("name").value = name;

const ledger = new Ledger();
const race = new Race(at("race"));
const sender = new Sender(room, { client, name }, (id) => ledger.acknowledge(id));
const panes = [];
let network; // where all go, if not straight

// --- what happened -------------------------------------------------------------------------------

const now = () => performance.now() / 1000;
const came = Date.now();

function delayOf(event) {
  if (event.kind !== "say") return undefined;
  const intended = sender.intended(event.id);
  if (intended !== undefined) return performance.now() - intended;
  // From the hub's clock to this machine's; what was said before we came has no delay.
  const delay = performance.timeOrigin + performance.now() - event.published;
  return event.published >= came && delay >= 0 ? delay : undefined;
}

function onEvent(event, pane, delay) {
  if (event.kind === "gap") ledger.forget();
  if (delay !== undefined) race.add(now(), pane.transport, delay);
}

// --- the panes -----------------------------------------------------------------------------------

const knob = (id) => at(id)?.value ?? 0;
const lab = { room, client, name, knob, ledger, now, delayOf, onEvent };

async function makePane(transport) {
  const { connect } = await import(`./transports/${transport}.js`);
  const pane = new Pane(transport, connect, lab);
  pane.on.addEventListener("change", () => switchPane(pane));
  return pane;
}

function baseOf(pane) {
  return network ?? laneOf(pane.transport, here.lanes);
}

function switchPane(pane) {
  if (pane.on.checked) pane.begin(baseOf(pane), ledger.cursor ?? start);
  else pane.end();
  showConnections();
}

// How many connections this tab keeps at the page's own port.
function kept() {
  const on = panes.filter((pane) => pane.on.checked).map((pane) => pane.transport);
  return network ? 0 : keptHere(on, here.lanes);
}

function showConnections() {
  const lanes = here.lanes.length;
  const words = lanes > 1 ? t("lab.lanes", { lanes }) : t("lab.no_lanes", { kept: kept(), six: SIX });
  at("connections").textContent = words;
}

async function askAbout() {
  try {
    return await askJSON(new URL("/lab", location));
  } catch {
    return { lanes: [], networks: 0, messages_per_second: 20 };
  }
}

// All begin at the same place, so that all are owed the same.
async function findStart() {
  try {
    const answer = await askJSON(address(room, "short_polling", { after: "now" }));
    return answer.cursor;
  } catch {
    return "now";
  }
}

const [here, start] = await Promise.all([askAbout(), findStart()]);
panes.push(...(await Promise.all(TRANSPORTS.map(makePane))));
at("panes").append(...panes.map((pane) => pane.element));
panes.forEach(switchPane);

networkControl(at("network"), (base) => {
  network = base;
  panes.forEach((pane) => pane.move(baseOf(pane)));
  showConnections();
});

at("interval").addEventListener("change", () => {
  const pane = panes.find(({ transport }) => transport === "short_polling");
  pane.move(baseOf(pane));
});

// --- saying something ----------------------------------------------------------------------------

at("say").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  const text = at("text").value;
  at("text").value = "";
  // What was refused is given back, unless something else is being written already.
  if (!(await sender.say(text))) at("text").value ||= text;
});

at("load").addEventListener("submit", (submit) => {
  submit.preventDefault();
  if (sender.left) return sender.stop();
  const [count, rate, size] = ["count", "rate", "size"].map((id) => Number(at(id).value));
  sender.start({ count, rate, size });
});

// More than the server takes from one client would be refused, and says nothing about transports.
function offerRates() {
  const most = here.messages_per_second || Infinity;
  const rates = RATES.filter((rate) => rate <= most);
  at("rate").append(...rates.map((rate) => new Option(t("lab.per_second", { rate }), rate)));
  at("rate").value = rates.includes(10) ? 10 : rates.at(-1);
}
offerRates();

function showSender() {
  const { left, sent, refused, trouble } = sender;
  at("send-many").textContent = left ? t("lab.stop") : t("lab.send_many");
  const said = sent || left ? t("lab.sent", { sent: number(sent), left: number(left) }) : "";
  const wrong = refused ? t("lab.refused", { refused, why: trouble.message }) : "";
  const line = [said, wrong].filter(Boolean).join(" · ");
  if (at("sent").textContent === line) return;
  at("sent").textContent = line;
  at("sent").dataset.wrong = refused > 0;
}

// --- drawing and counting ------------------------------------------------------------------------

function draw() {
  if (document.hidden) return;
  panes.forEach((pane) => pane.draw());
  race.draw();
  showSender();
}

let counting = false;

async function count() {
  if (document.hidden || counting) return;
  counting = true;
  try {
    const url = new URL("/wire", location);
    url.search = new URLSearchParams({ client });
    const { transports } = await askJSON(url, { signal: AbortSignal.timeout(10_000) });
    panes.forEach((pane) => pane.count(transports[pane.transport]));
  } catch {
    // The panes tell of the trouble; their figures stay as they were.
  } finally {
    counting = false;
  }
}

setInterval(draw, DRAW);
setInterval(count, COUNT);
race.begin().then((drawn) => { at("no-race").hidden = drawn; });

// --- the lesson about six connections, coming and going ------------------------------------------

at("starve").addEventListener("click", async () => {
  at("starve").disabled = true;
  await starve(room, kept(), (step, values) => {
    at("starving").textContent = t(`lab.starve.${step}`, values);
  });
  at("starve").disabled = false;
});

at("who").addEventListener("submit", (submit) => {
  submit.preventDefault();
  rememberName(at("name").value);
  location.search = new URLSearchParams({ room: at("room").value });
});

addEventListener("pagehide", () => {
  panes.forEach((pane) => pane.end());
  fetch(address(room, `members/${client}`), { method: "DELETE", keepalive: true }).catch(() => {});
});
addEventListener("pageshow", ({ persisted }) => { if (persisted) panes.forEach(switchPane); });

for (const link of document.querySelectorAll("a.page")) {
  link.search = new URLSearchParams({ room });
}
showExercises(at("exercises"), "lab");
