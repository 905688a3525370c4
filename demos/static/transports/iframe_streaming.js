// Iframe streaming: a page that never finishes loading (see forever_frame.js).

import { roomUrl } from "../api.js";
import { foreverFrame, relayedFrame } from "../forever_frame.js";
import { publish } from "../publish.js";
import { keepConnected } from "../reconnect.js";
import { diagnose, watchdog, withResumeCheck } from "../watchdog.js";

// A frame keeps all that it has read in memory: a new one continues from the cursor.
const RECYCLE_AT = 1_000_000;
const SCRIPT_LENGTH = 150; // characters of a script block without its event

export function connect(room, { client, name, base, trace, encoding, setting, ...options }) {
  function connectOnce(attempt) {
    let size = 0;
    let opened = false;
    const dead = withResumeCheck(watchdog(() => attempt.ended()), room, attempt, base);
    const query = { after: attempt.cursor, client, name, pad: setting("pad"), trace, encoding };
    const url = roomUrl(room, "iframe_streaming", query, base);
    const open = url.origin === location.origin ? foreverFrame : relayedFrame;

    const close = open(url, {
      opened() {
        opened = true;
        attempt.opened();
      },
      alive: dead.reset,
      receive(event) {
        attempt.receive(event);
        size += JSON.stringify(event).length + SCRIPT_LENGTH;
        // Not while the calling script runs: it still has to remove itself.
        if (size > RECYCLE_AT) setTimeout(attempt.renew);
      },
      ended: async () => attempt.ended(opened ? undefined : await diagnose(room, attempt, { client, name, encoding }, base)),
    });

    return () => {
      dead.stop();
      close();
    };
  }

  const reader = keepConnected(connectOnce, options);
  return { send: (message) => publish(room, message, { base, trace }), close: reader.close };
}
