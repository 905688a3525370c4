// Iframe streaming: an invisible page that never ends loading, and calls us from each script in it.

import { address } from "../ask.js";
import { foreverFrame, relayedFrame } from "../forever.js";
import { keepConnected } from "../reconnect.js";
import { post } from "../send.js";
import { wakeful, watchdog, whyNot } from "../watchdog.js";

// What a page has read stays in its memory: after about a megabyte a new one goes on by cursor.
const RECYCLE_AT = 1_000_000;
const SCRIPT = 150; // characters of a block around its event

export function connect(room, { client, name, base, trace, knob, ...options }) {
  function live(life) {
    let size = 0;
    let begun = false;
    const dog = wakeful(watchdog(() => life.ended()), room, life, base);
    const query = { after: life.cursor, client, name, pad: knob("pad"), trace };
    const url = address(room, "iframe_streaming", query, base);
    const open = url.origin === location.origin ? foreverFrame : relayedFrame;

    const close = open(url, {
      opened() {
        begun = true;
        life.opened();
      },
      heard: dog.heard,
      receive(event) {
        life.receive(event);
        size += JSON.stringify(event).length + SCRIPT;
        // Not from within the script that called: it is about to remove itself.
        if (size > RECYCLE_AT) setTimeout(life.renew);
      },
      ended: async () => life.ended(begun ? undefined : await whyNot(room, life, name, base)),
    });

    return () => {
      dog.stop();
      close();
    };
  }

  const reader = keepConnected(live, options);
  return { send: (message) => post(room, message, { base, trace }), close: reader.close };
}
