// What the page of the spinner says of itself: how its frame was made, and whether it is still loading.

import { stranger } from "./lessons/parts.js";
import { t, translate } from "./words.js";

const HOWS = ["markup", "load", "after"];
const LOOK = 250;

const at = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);
const how = HOWS.includes(asked.get("how")) ? asked.get("how") : "after";

at("how").dataset.i18n = `lesson.spinner.${how}`;
translate();
at("others").append(...HOWS.filter((one) => one !== how).map(wayTo));
const { say } = stranger(asked.get("room") || "lobby");
at("say").addEventListener("click", () => say(t("lesson.spinner.word"), "iframe_streaming").said.catch(() => {}));
setInterval(look, LOOK);
look();

function wayTo(one) {
  const link = document.createElement("a");
  asked.set("how", one);
  link.href = `?${asked}`;
  link.textContent = t(`lesson.iframe.how-${one}`);
  return link;
}

function look() {
  at("ready").textContent = document.readyState;
  at("load").textContent = t(window.realtime.loaded ? "lesson.spinner.fired" : "lesson.spinner.waiting");
  at("frame-state").textContent = frames[0]?.document.readyState ?? "–";
  at("heard").textContent = window.realtime.heard;
}
