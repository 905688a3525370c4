// What must be known before the first paint, or the page would flash: light or dark, how large, and in
// which language.  A classic script in <head>, since a module runs after the page was painted.
//
//   <html data-theme="auto|light|dark" data-big data-words="awaited" lang="zh-Hans">

{
  const LANGUAGES = ["en", "zh-Hans", "zh-Hant"];
  const PATIENCE = 1500;
  const root = document.documentElement;
  const kept = (key) => localStorage.getItem(`realtime.${key}`);

  // zh-TW, zh-HK and zh-MO write the traditional characters, other Chinese the simplified.
  function closest(wish) {
    if (LANGUAGES.includes(wish)) return wish;
    try {
      const { language, script } = new Intl.Locale(wish).maximize();
      return [`${language}-${script}`, language].find((one) => LANGUAGES.includes(one));
    } catch {
      return undefined; // anybody may write anything behind ?lang=
    }
  }

  function chooseLanguage() {
    const asked = new URLSearchParams(location.search).get("lang");
    return [asked, kept("language"), ...navigator.languages].map(closest).find(Boolean) ?? "en";
  }

  root.dataset.theme = kept("theme") ?? "auto";
  root.toggleAttribute("data-big", kept("big") === "yes");
  root.lang = chooseLanguage();

  // The English of the HTML is not shown to be exchanged a moment later; but if our words do not
  // come, it is better than nothing.
  if (root.lang !== "en") {
    root.dataset.words = "awaited";
    setTimeout(() => delete root.dataset.words, PATIENCE);
  }
}
