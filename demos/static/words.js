// The languages of the pages.  English stands in the HTML, so that a page without scripts can be
// read; all languages are in /demos/i18n, under the same keys.  Which one it is, theme.js has written
// into <html lang>.
//
//   <p data-i18n="sse.idea">English, <code>marked up</code></p>     <input data-i18n-placeholder="chat.say">
//   t("chat.delay.own", { delay })                                  "sent→shown {delay}"

export const LANGUAGES = { en: "English", "zh-Hans": "简体中文", "zh-Hant": "繁體中文" };
const KEPT = "realtime.language";
const ATTRIBUTES = ["placeholder", "aria-label", "title"];
const PATIENCE = 5_000;

const root = document.documentElement;
// Without the words of one language, those of English; without those, what the HTML says.
export const { language, catalogue } = (await load(root.lang)) ?? (await load("en")) ??
  { language: "en", catalogue: {} };

/** The words under a key, with `{name}` replaced by `values.name`: text, never markup. */
export function t(key, values = {}) {
  return parts(key, values).join("");
}

/** The same as a list, for `append`: a value may be an element. */
export function parts(key, values) {
  const pieces = (catalogue[key] ?? key).split(/\{(\w+)\}/);
  return pieces.map((piece, i) => (i % 2 ? values[piece] ?? `{${piece}}` : piece));
}

/** A sentence for a server's error code, or the server's own words where we have none for it. */
export function explain(code, said) {
  const words = catalogue[`trouble.${code}`] ?? said;
  return words ? t("trouble.with_code", { words, code }) : code;
}

// --- numbers and times -----------------------------------------------------------------------------

// A formatter costs more to make than a thousand numbers to write, and panes write many.
const formats = new Map();

/** A number as this language writes it. */
export function number(value, options) {
  const name = JSON.stringify(options) ?? "";
  if (!formats.has(name)) formats.set(name, new Intl.NumberFormat(language, options));
  return formats.get(name).format(value);
}

const clock = new Intl.DateTimeFormat(language, { timeStyle: "medium" });

/** The time of day of a moment, in ms since 1970. */
export function time(at) {
  return clock.format(at);
}

// --- the page ------------------------------------------------------------------------------------

/** Put the words of our language into `part`.  They are ours, so they may be marked up. */
export function translate(part = document) {
  for (const element of part.querySelectorAll("[data-i18n]")) {
    const words = catalogue[element.dataset.i18n];
    if (words !== undefined) element.innerHTML = words;
  }
  for (const name of ATTRIBUTES) {
    for (const element of part.querySelectorAll(`[data-i18n-${name}]`)) {
      const words = catalogue[element.getAttribute(`data-i18n-${name}`)];
      if (words !== undefined) element.setAttribute(name, words);
    }
  }
}

/** Choose a language; the page is loaded anew in it. */
export function choose(wanted) {
  localStorage.setItem(KEPT, wanted);
  const url = new URL(location);
  url.searchParams.delete("lang");
  if (url.href === location.href) location.reload();
  else location.replace(url);
}

async function load(name) {
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const response = await fetch(`/demos/i18n/${name}.json`, { signal });
    return response.ok ? { language: name, catalogue: await response.json() } : undefined;
  } catch {
    return undefined; // neither a server that is away nor half a file may keep the page from working
  }
}

root.lang = language;
translate();
delete root.dataset.words;
