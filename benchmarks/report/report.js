// Start in the language of the browser; afterwards show the language that the reader selects.
"use strict";
const preferred = navigator.language.toLowerCase();
const traditional = /^zh-(hant|tw|hk|mo)/.test(preferred);
const first = preferred.startsWith("zh") ? (traditional ? "zh-Hant" : "zh-Hans") : "en";
const show = (language) => {
  document.documentElement.lang = language;
  document.title = document.querySelector(`article[lang="${language}"] h1`).textContent;
};
for (const choice of document.querySelectorAll("input[name=language]")) {
  choice.addEventListener("change", () => show(choice.value));
  if (choice.value === first) choice.checked = true;
}
show(first);
