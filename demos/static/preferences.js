// What a user chooses for all pages: language, light or dark, and size.  It needs no server.

import { byId, el } from "./dom.js";
import { choose, language, LANGUAGES, translate } from "./i18n.js";
import { local } from "./storage.js";

const PREFERENCES = `
  <select id="language" aria-label="Language" data-i18n-aria-label="header.language"></select>
  <select id="theme" aria-label="Light or dark" data-i18n-aria-label="header.theme">
    <option value="auto" data-i18n="header.theme_auto">Auto</option>
    <option value="light" data-i18n="header.theme_light">Light</option>
    <option value="dark" data-i18n="header.theme_dark">Dark</option>
  </select>
  <button id="big" type="button" title="Larger type, for a projector" data-i18n="header.big"
    data-i18n-title="header.big_why">Big</button>`;

/** Add the preferences at the end of a header. */
export function addPreferences(header) {
  const looks = el("div", "looks");
  looks.innerHTML = PREFERENCES;
  translate(looks);
  header.append(looks);
  const root = document.documentElement;
  const [languages, theme, big] = ["language", "theme", "big"].map(byId);
  languages.append(...Object.entries(LANGUAGES).map(([code, name]) => languageOption(code, name)));
  languages.addEventListener("change", () => choose(languages.value));

  theme.value = root.dataset.theme;
  theme.addEventListener("change", () => {
    root.dataset.theme = theme.value;
    local.set("theme", theme.value);
  });

  big.setAttribute("aria-pressed", root.hasAttribute("data-big"));
  big.addEventListener("click", () => {
    const larger = root.toggleAttribute("data-big");
    big.setAttribute("aria-pressed", larger);
    local.set("big", larger ? "yes" : "no");
  });
}

// Each language is named in that language: a user who looks for it may not read any other.
function languageOption(code, name) {
  const option = new Option(name, code, false, code === language);
  option.lang = code;
  return option;
}
