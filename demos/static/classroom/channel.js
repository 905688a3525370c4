// The lecturer's window and the projected one, in one browser: a BroadcastChannel between them, and
// localStorage for what a reload must not lose.

import { local } from "../storage.js";

/** `{state(), save(state), send(message)}`; `onMessage(message)` receives what the other window sent. */
export function classChannel(room, onMessage) {
  const key = `class.${room}`;
  const channel = new BroadcastChannel(`realtime.${key}`);
  channel.onmessage = ({ data }) => onMessage(data);
  return {
    state: () => read(key),
    save(state) {
      local.set(key, JSON.stringify(state));
      channel.postMessage({ state });
    },
    send: (message) => channel.postMessage(message),
  };
}

/** The value that was stored under a key, or undefined. */
export function read(key) {
  try {
    return JSON.parse(local.get(key) ?? "null") ?? undefined;
  } catch {
    return undefined; // another program has stored something there
  }
}

export function write(key, value) {
  local.set(key, JSON.stringify(value));
}
