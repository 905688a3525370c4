// The lecturer's key comes behind the # of the address that the server prints, which no server and no
// other page is told.  It is taken out of the address bar: a projector shows that to everybody.

const KEPT = "realtime.key";

/** The key, from the address or from before this page was loaded anew; null where there is none. */
export function takeKey() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) {
    sessionStorage.setItem(KEPT, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(KEPT);
}
