// What the browser must know before the first paint, or the page would flash: light or dark, the size, and
// the language.  A classic script in <head>, because a module runs after the first paint.
//
//   <html data-theme="auto|light|dark" data-big data-framed data-words="awaited" lang="zh-Hans">

{
  const LANGUAGES = ["en", "zh-Hans", "zh-Hant"];
  const TIMEOUT = 1500;
  const root = document.documentElement;

  // As in storage.js, which a classic script cannot import.
  function stored(key) {
    try {
      return localStorage.getItem(`realtime.${key}`);
    } catch {
      return null; // the browser blocks it
    }
  }

  // zh-TW, zh-HK and zh-MO use traditional characters, other Chinese simplified ones.
  function closest(tag) {
    if (LANGUAGES.includes(tag)) return tag;
    try {
      const { language, script } = new Intl.Locale(tag).maximize();
      return [`${language}-${script}`, language].find((one) => LANGUAGES.includes(one));
    } catch {
      return undefined; // ?lang= may hold any text
    }
  }

  function chooseLanguage() {
    const wanted = new URLSearchParams(location.search).get("lang");
    return [wanted, stored("language"), ...navigator.languages].map(closest).find(Boolean) ?? "en";
  }

  root.dataset.theme = stored("theme") ?? "auto";
  // The projector frames a page and enlarges it.
  const isFramed = self !== top;
  root.toggleAttribute("data-framed", isFramed);
  root.toggleAttribute("data-big", !isFramed && stored("big") === "yes");
  root.lang = chooseLanguage();

  // Hide the English of the HTML until the catalogue has arrived.  If it does not arrive in time, English
  // is better than an empty page.
  if (root.lang !== "en") {
    root.dataset.words = "awaited";
    setTimeout(() => delete root.dataset.words, TIMEOUT);
  }
}
