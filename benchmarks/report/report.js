// The language of the browser to begin with, and afterwards the one that was chosen.
"use strict";
const spoken = navigator.language.toLowerCase();
const traditional = /^zh-(hant|tw|hk|mo)/.test(spoken);
const first = spoken.startsWith("zh") ? (traditional ? "zh-Hant" : "zh-Hans") : "en";
const show = (language) => {
  document.documentElement.lang = language;
  document.title = document.querySelector(`article[lang="${language}"] h1`).textContent;
};
for (const choice of document.querySelectorAll("input[name=language]")) {
  choice.addEventListener("change", () => show(choice.value));
  if (choice.value === first) choice.checked = true;
}
show(first);
