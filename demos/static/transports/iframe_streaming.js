// Iframe streaming: an invisible page that never ends loading, and calls us from each script in it.
// No event tells that such a page has begun, grown or died, so we look at it, four times a second.

import { address } from "../ask.js";
import { keepConnected } from "../reconnect.js";
import { post } from "../send.js";
import { watchdog, whyNot } from "../watchdog.js";
import { t } from "../words.js";

const LOOK = 250;
// What a page has read stays in its memory: after about a megabyte a new one goes on by cursor.
const RECYCLE_AT = 1_000_000;
const SCRIPT = 150; // characters of a block around its event

export function connect(room, { client, name, base, trace, knob, ...options }) {
  function live(life) {
    const frame = document.createElement("iframe");
    let size = 0;
    let length = -1;
    let begun = false;

    const dog = watchdog(() => life.ended());
    const timer = setInterval(look, LOOK);

    // A heartbeat is white space: the document becomes one character longer.
    function look() {
      const page = pageOf(frame);
      if (!page) return;
      begun = true;
      life.opened();
      const seen = page.documentElement.textContent.length;
      if (seen !== length) dog.heard();
      length = seen;
    }

    // The scripts in the frame find us here.
    window.realtime = {
      receive(event) {
        begun = true;
        life.opened();
        dog.heard();
        life.receive(event);
        size += JSON.stringify(event).length + SCRIPT;
        // Not from within the script that called: it is about to remove itself.
        if (size > RECYCLE_AT) setTimeout(life.renew);
      },
    };

    frame.hidden = true;
    frame.title = t("page.iframe_streaming.frame");
    frame.src = address(room, "iframe_streaming", {
      after: life.cursor, client, name, pad: knob("pad"), trace,
    }, base);
    // "load" is the end: the server has finished, or there was never such a page.
    frame.onload = async () => life.ended(begun ? undefined : await whyNot(room, life, name, base));
    const opening = afterLoad(() => document.body.append(frame));

    return () => {
      opening.cancel();
      clearInterval(timer);
      dog.stop();
      frame.onload = null;
      frame.remove();
    };
  }

  const reader = keepConnected(live, options);
  return { send: (message) => post(room, message, { base, trace }), close: reader.close };
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
