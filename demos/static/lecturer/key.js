// The lecturer's key is in the fragment of the URL that the server prints.  Browsers send a fragment to no
// server.  The page removes it from the address bar, which a projector shows to the class.

import { session } from "../storage.js";

/** The key, from the URL or from before a reload; null where there is none. */
export function takeKey() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  // Where nothing can be stored it stays in the URL, for a reload.
  if (key && session.set("key", key)) history.replaceState(null, "", location.pathname + location.search);
  return key ?? session.get("key") ?? null;
}
