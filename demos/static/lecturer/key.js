// The lecturer's key is in the fragment of the URL that the server prints.  Browsers send a fragment to no
// server.  The page removes it from the address bar, which a projector shows to the class.

const STORAGE_KEY = "realtime.key";

/** The key, from the URL or from before a reload; null where there is none. */
export function takeKey() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key) {
    sessionStorage.setItem(STORAGE_KEY, key);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(STORAGE_KEY);
}
