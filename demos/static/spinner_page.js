// The texts of the spinner page: how its frame was added, and whether the page is still loading.

import { byId, el } from "./dom.js";
import { t, translate } from "./i18n.js";
import { testUser } from "./lessons/helpers.js";

const METHODS = ["markup", "load", "after"];
const INTERVAL = 250;

const query = new URLSearchParams(location.search);
const method = METHODS.includes(query.get("how")) ? query.get("how") : "after";

byId("how").dataset.i18n = `lesson.spinner.${method}`;
translate();
byId("others").append(...METHODS.filter((one) => one !== method).map(linkTo));
const { send } = testUser(query.get("room") || "lobby");
byId("say").addEventListener("click", () => {
  send(t("lesson.spinner.word"), "iframe_streaming").done.catch(() => {});
});
setInterval(show, INTERVAL);
show();

function linkTo(other) {
  query.set("how", other);
  return el("a", { href: `?${query}` }, t(`lesson.iframe.how-${other}`));
}

function show() {
  const { loaded, received } = window.realtime;
  byId("ready").textContent = document.readyState;
  byId("load").textContent = t(loaded ? "lesson.spinner.fired" : "lesson.spinner.waiting");
  byId("frame-state").textContent = frames[0]?.document.readyState ?? "–";
  byId("heard").textContent = received;
}
