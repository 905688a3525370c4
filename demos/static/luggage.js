// Who we are, and what a page carries over a reload.  It is put into sessionStorage only while no
// page is there to hold it: a duplicated tab copies that storage, and must not become the same client.

import { uuid } from "./send.js";
import { t } from "./words.js";

// Other programs are tried out on this host and port, too.
const OURS = "realtime.";

/** Take something out, so that nobody else has it. */
export function take(key) {
  const text = sessionStorage.getItem(OURS + key);
  sessionStorage.removeItem(OURS + key);
  return text === null ? undefined : JSON.parse(text);
}

export function leave(key, value) {
  sessionStorage.setItem(OURS + key, JSON.stringify(value));
}

export function takeClient() {
  return take("client") ?? uuid();
}

// --- names ------------------------------------------------------------------------------------

/** The name in the URL, or the one chosen last, or a new one; kept, so a tab opened next has it. */
export function chooseName(wanted) {
  if (wanted) return wanted;
  const name = localStorage.getItem(OURS + "name") || inventName();
  rememberName(name);
  return name;
}

export function rememberName(name) {
  localStorage.setItem(OURS + "name", name);
}

function inventName() {
  const [how, who] = ["chat.names.how", "chat.names.who"].map((key) => oneOf(t(key).split(", ")));
  return t("chat.names.both", { how, who });
}

function oneOf(words) {
  return words[Math.floor(Math.random() * words.length)];
}
