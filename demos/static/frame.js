// Between a page at one of our ports and an endless page at this one: passes on what it is told.
// What is said in a room goes to no other host than this: a page of somebody else hears nothing.

import { foreverFrame } from "./forever.js";

const asked = new URLSearchParams(location.search);
const page = new URL(asked.get("page"));
const stream = new URL(asked.get("stream"), location);

const tell = (what) => (event) => parent.postMessage([what, event], page.origin);

if (page.hostname === location.hostname && stream.origin === location.origin) {
  const [opened, heard, receive, ended] = ["opened", "heard", "receive", "ended"].map(tell);
  heard();
  foreverFrame(stream, { opened, heard, receive, ended });
}
