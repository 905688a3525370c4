// The forever frame: an invisible page that never ends loading, and calls us from each script in it.
// No event tells that such a page has begun, grown or died, so we look at it, four times a second.

const LOOK = 250;
// How long our page between may take to say its first word.
const PATIENCE = 2_000;

/**
 * Open the endless page at `url` and tell `listener` of it: `opened()`, `heard()` at any sign of life,
 * `receive(event)`, `ended()`.  The result closes it.
 */
export function foreverFrame(url, listener) {
  const frame = document.createElement("iframe");
  let length = -1;

  // A heartbeat is white space: the document becomes one character longer.
  function look() {
    const page = pageOf(frame);
    if (!page) return;
    // Whoever presses Stop ends it, and no event tells: it is complete, as no endless page should be.
    if (page.readyState === "complete") return listener.ended();
    listener.opened();
    const seen = page.documentElement.textContent.length;
    if (seen !== length) listener.heard();
    length = seen;
  }

  // The scripts in the frame find us here.
  window.realtime = {
    receive(event) {
      listener.opened();
      listener.heard();
      listener.receive(event);
    },
  };

  const timer = setInterval(look, LOOK);
  hide(frame, url);
  // "load" is the end: the server has finished, or there was never such a page.
  frame.onload = () => listener.ended();
  const opening = afterLoad(() => document.body.append(frame));

  return () => {
    opening.cancel();
    clearInterval(timer);
    frame.onload = null;
    frame.remove();
  };
}

/**
 * The same for a page at another port.  It may not call us, so one of our own stands between at that
 * port: it holds the endless page, and passes on by `postMessage` what it is told.
 */
export function relayedFrame(url, listener) {
  const between = new URL("/demos/frame.html", url);
  between.search = new URLSearchParams({ stream: url.pathname + url.search, page: location.origin });
  const frame = document.createElement("iframe");
  hide(frame, between);

  let timer;

  function hear({ source, origin, data: [what, event] }) {
    if (source !== frame.contentWindow || origin !== url.origin) return;
    clearTimeout(timer);
    frame.onload = null;
    listener[what](event);
  }
  addEventListener("message", hear);
  // The browser's own page about a server that is not there is loaded, too, and says nothing.
  frame.onload = () => { timer = setTimeout(listener.ended, PATIENCE); };
  const opening = afterLoad(() => document.body.append(frame));

  return () => {
    opening.cancel();
    clearTimeout(timer);
    removeEventListener("message", hear);
    frame.remove();
  };
}

function hide(frame, url) {
  frame.hidden = true;
  frame.src = url;
}

// Before its first bytes a frame shows about:blank; an error is no text/html, or not ours to see.
function pageOf(frame) {
  const page = frame.contentDocument;
  const ours = page?.documentElement && page.URL !== "about:blank";
  return ours && page.contentType === "text/html" ? page : null;
}

// A frame made before or in the `load` event keeps the tab spinning for ever; one turn later not.
function afterLoad(open) {
  let timer;
  const later = () => { timer = setTimeout(open); };
  if (document.readyState === "complete") later();
  else addEventListener("load", later, { once: true });
  return {
    cancel() {
      clearTimeout(timer);
      removeEventListener("load", later);
    },
  };
}
