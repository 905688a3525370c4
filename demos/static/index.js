// The first page: it carries the room that was chosen into the links, and says which hub is in use.
// All else on it is plain HTML.

import { fillFoot, fillHeader } from "./skeleton.js";

const room = document.getElementById("room");
room.value = new URLSearchParams(location.search).get("room") ?? "";

function carryRoom() {
  for (const link of document.querySelectorAll("a.page")) {
    link.search = room.value ? new URLSearchParams({ room: room.value }) : "";
  }
}

room.addEventListener("input", carryRoom);
// A browser that comes back to this page may restore the field without an event.
addEventListener("pageshow", carryRoom);
carryRoom();
fillHeader();
fillFoot();
