// The forever frame: an invisible page that never finishes loading, and calls us from each script in it.  No event
// says that it has started, grown or died, so we inspect it four times a second.

const CHECK_INTERVAL = 250;
// For the first byte.  A frame that was refused fires "load" in Chromium; in Firefox and WebKit nothing happens.
const OPEN_TIMEOUT = 5_000;

/** Open the page at `url`, and report to `listener`: opened, alive (a new byte), receive, ended.  Returns `close`. */
export function foreverFrame(url, listener) {
  const frame = hiddenFrame(url);
  let length = -1;

  // A heartbeat is white space: the document becomes one character longer.
  function check() {
    const page = documentOf(frame);
    if (!page) return;
    // The browser's Stop button ends the stream without an event.
    if (page.readyState === "complete") return listener.ended();
    clearTimeout(refused);
    listener.opened();
    const current = page.documentElement.textContent.length;
    if (current !== length) listener.alive();
    length = current;
  }

  window.realtime = {
    receive(event) {
      clearTimeout(refused);
      listener.opened();
      listener.alive();
      listener.receive(event);
    },
  };

  const timer = setInterval(check, CHECK_INTERVAL);
  // "load" is the end: the server has finished, or the page was never there.
  frame.onload = () => listener.ended();
  let refused;
  const opening = afterLoad(() => {
    document.body.append(frame);
    refused = setTimeout(listener.ended, OPEN_TIMEOUT);
  });

  return () => {
    opening.cancel();
    clearInterval(timer);
    clearTimeout(refused);
    frame.onload = null;
    frame.remove();
  };
}

/** The same at another port.  Its page cannot call us: a relay page there forwards each call by `postMessage`. */
export function relayedFrame(url, listener) {
  const relay = new URL("../../demos/frame.html", url);
  relay.search = new URLSearchParams({ stream: url.pathname + url.search, page: location.origin });
  const frame = hiddenFrame(relay);

  function onMessage({ source, origin, data: [method, event] }) {
    if (source !== frame.contentWindow || origin !== url.origin) return;
    clearTimeout(refused);
    listener[method](event);
  }
  addEventListener("message", onMessage);
  let refused;
  const opening = afterLoad(() => {
    document.body.append(frame);
    refused = setTimeout(listener.ended, OPEN_TIMEOUT);
  });

  return () => {
    opening.cancel();
    clearTimeout(refused);
    removeEventListener("message", onMessage);
    frame.remove();
  };
}

function hiddenFrame(url) {
  return Object.assign(document.createElement("iframe"), { hidden: true, src: url });
}

// Before its first bytes a frame shows about:blank.  An error is not text/html, or not readable from here.
function documentOf(frame) {
  const page = frame.contentDocument;
  const ready = page?.documentElement && page.URL !== "about:blank";
  return ready && page.contentType === "text/html" ? page : null;
}

// A frame that is added before or during `load` keeps the tab's spinner turning; one added a turn later does not.
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
