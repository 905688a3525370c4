// What a tab keeps over a reload: the secret of its client id and its unsent messages.  They are in sessionStorage only
// while no page holds them, because a duplicated tab copies sessionStorage and must not become the same
// client.

import { t } from "./i18n.js";
import { newClient, secretOf } from "./identity.js";
import { local, session } from "./storage.js";

/** Read a value and remove it, so that no other page has it. */
export function take(key) {
  const text = session.get(key);
  session.remove(key);
  return text === undefined ? undefined : JSON.parse(text);
}

export function save(key, value) {
  session.set(key, JSON.stringify(value));
}

export function takeClient() {
  return newClient(take("secret"));
}

export function saveClient(client) {
  save("secret", secretOf(client));
}

// --- names ------------------------------------------------------------------------------------

/** The name in the URL, or the last one used, or a new one; stored for the next tab. */
export function chooseName(wanted) {
  if (wanted) return wanted;
  const name = local.get("name") || randomName();
  rememberName(name);
  return name;
}

export function rememberName(name) {
  local.set("name", name);
}

function randomName() {
  const [how, who] = ["chat.names.how", "chat.names.who"].map((key) => oneOf(t(key).split(", ")));
  return t("chat.names.both", { how, who });
}

function oneOf(words) {
  return words[Math.floor(Math.random() * words.length)];
}
