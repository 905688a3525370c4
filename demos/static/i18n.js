// The languages of the pages.  The HTML holds the English text, so that a page without scripts is
// readable; the catalogues in /demos/i18n hold all languages under the same keys.  theme.js has chosen the
// language and written it into <html lang>.
//
//   <p data-i18n="sse.idea">English, <code>marked up</code></p>     <input data-i18n-placeholder="chat.say">
//   t("chat.delay.own", { delay })                                  "sent→shown {delay}"

import { formatter } from "./format.js";
import { local } from "./storage.js";

export const LANGUAGES = { en: "English", "zh-Hans": "简体中文", "zh-Hant": "繁體中文" };
const ATTRIBUTES = ["alt", "placeholder", "aria-label", "title"];
const TIMEOUT = 5_000;

export let language;
let catalogue, format;

/** Use this language and its catalogue, `{key: text}`, from now on. */
export function setLanguage(code, texts) {
  language = code;
  catalogue = texts;
  format = formatter(code);
}

/** The text of a key, with `{name}` replaced by `values.name`: plain text, never markup. */
export function t(key, values = {}) {
  return parts(key, values).join("");
}

/** The same as a list, for `append`: a value may be an element. */
export function parts(key, values) {
  const pieces = (catalogue[key] ?? key).split(/\{(\w+)\}/);
  return pieces.map((piece, i) => (i % 2 ? values[piece] ?? `{${piece}}` : piece));
}

/** A sentence for an error: ours for its code or reason, or the server's own message where we have none. */
export function explain({ code, reason, status, message }) {
  if (typeof code !== "string") return message; // of the page, in its language
  if (reason) return t(`trouble.${reason}`, { status, error: message });
  const words = catalogue[`trouble.${code}`] ?? message;
  return words === code ? code : t("trouble.with_code", { words, code });
}

/** A number as this language writes it. */
export function number(value, options) {
  return format.number(value, options);
}

/** The time of day of a moment, in ms since 1970. */
export function time(ms) {
  return format.time(ms);
}

// --- the page ------------------------------------------------------------------------------------

/** Put the texts of our language into `root`.  We wrote them, so they may contain markup. */
export function translate(root = document) {
  for (const element of root.querySelectorAll("[data-i18n]")) {
    const text = catalogue[element.dataset.i18n];
    if (text !== undefined) element.innerHTML = text;
  }
  for (const name of ATTRIBUTES) {
    for (const element of root.querySelectorAll(`[data-i18n-${name}]`)) {
      const text = catalogue[element.getAttribute(`data-i18n-${name}`)];
      if (text !== undefined) element.setAttribute(name, text);
    }
  }
}

/** Choose a language, and reload the page in it; where nothing can be stored, the URL keeps it. */
export function choose(code) {
  const url = new URL(location);
  if (local.set("language", code)) url.searchParams.delete("lang");
  else url.searchParams.set("lang", code);
  if (url.href === location.href) location.reload();
  else location.replace(url);
}

// A page in one file has its catalogues in itself (wire/single_file.js).
async function load(code) {
  const embedded = document.querySelector(`script[data-catalogue="${code}"]`);
  if (embedded) return [code, JSON.parse(embedded.textContent)];
  try {
    const signal = AbortSignal.timeout(TIMEOUT);
    const response = await fetch(new URL(`../i18n/${code}.json`, import.meta.url), { signal });
    return response.ok ? [code, await response.json()] : undefined;
  } catch {
    return undefined; // a missing server or half a file must not stop the page
  }
}

async function translatePage(root) {
  // If the catalogue does not arrive: the English one; without that, the text in the HTML.
  setLanguage(...((await load(root.lang)) ?? (await load("en")) ?? ["en", {}]));
  root.lang = language;
  translate();
  delete root.dataset.words;
}

// Tests of pure modules run under Node, where there is no document.
if (globalThis.document) await translatePage(document.documentElement);
else setLanguage("en", {});
