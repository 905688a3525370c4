// The relay between a page at another of our ports and a stream at this one: forwards every call.
// It only talks to pages of this host, so that no other site can read a room through it.

import { foreverFrame } from "./forever_frame.js";

const query = new URLSearchParams(location.search);
const page = new URL(query.get("page"));
const stream = new URL(query.get("stream"), location);

const forward = (method) => (event) => parent.postMessage([method, event], page.origin);

if (page.hostname === location.hostname && stream.origin === location.origin) {
  const [opened, alive, receive, ended] = ["opened", "alive", "receive", "ended"].map(forward);
  alive();
  foreverFrame(stream, { opened, alive, receive, ended });
}
