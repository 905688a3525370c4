// The languages of the pages.  English stands in the HTML, so that a page without scripts can be
// read; all languages are in /demos/i18n, under the same keys.
//
//   <p data-i18n="sse.idea">English, <code>marked up</code></p>     <input data-i18n-placeholder="chat.say">
//   t("chat.joined", { name })                                      "{name} has come"

export const LANGUAGES = { en: "English", "zh-Hans": "简体", "zh-Hant": "繁體" };
const KEPT = "realtime.language";
const ATTRIBUTES = ["placeholder", "aria-label", "title"];

export const language = chosen();
const catalogue = await load(language);

/** The words under a key, with `{name}` replaced by `values.name`: text, never markup. */
export function t(key, values = {}) {
  const words = catalogue[key] ?? key;
  return words.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

/** A number as this language writes it. */
export function number(value, options) {
  return new Intl.NumberFormat(language, options).format(value);
}

/** Put the words of our language into `root`.  They are ours, so they may be marked up. */
export function translate(root = document) {
  document.documentElement.lang = language;
  for (const element of root.querySelectorAll("[data-i18n]")) {
    const words = catalogue[element.dataset.i18n];
    if (words !== undefined) element.innerHTML = words;
  }
  for (const name of ATTRIBUTES) {
    for (const element of root.querySelectorAll(`[data-i18n-${name}]`)) {
      element.setAttribute(name, t(element.getAttribute(`data-i18n-${name}`)));
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

function chosen() {
  const asked = new URLSearchParams(location.search).get("lang");
  const wishes = [asked, localStorage.getItem(KEPT), ...navigator.languages];
  return wishes.map(closest).find(Boolean) ?? "en";
}

// zh-TW, zh-HK and zh-MO write the traditional characters, other Chinese the simplified.
function closest(wish) {
  if (!wish) return undefined;
  if (wish in LANGUAGES) return wish;
  const { language: name, script } = new Intl.Locale(wish).maximize();
  return [`${name}-${script}`, name].find((one) => one in LANGUAGES);
}

async function load(name) {
  const response = await fetch(`/demos/i18n/${name}.json`);
  return response.ok ? response.json() : {};
}
