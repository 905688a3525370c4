// The language, and the charts of the article in that language.
"use strict";
// `ast`: the policy of the page forbids eval, so Vega interprets its expressions.
const OPTIONS = { ast: true, actions: false, defaultStyle: false, renderer: "svg" };
const TOOLTIP = { disableDefaultStyle: true, offsetX: 12, offsetY: 12 };
const SAVED_WIDTH = 800;

/** The language of the browser, if the page has it. */
function startLanguage() {
  const preferred = navigator.language.toLowerCase();
  if (!preferred.startsWith("zh")) return "en";
  return /^zh-(hant|tw|hk|mo)/.test(preferred) ? "zh-Hant" : "zh-Hans";
}

function show(language) {
  document.documentElement.lang = language;
  const article = document.querySelector(`article[lang="${language}"]`);
  document.title = article.querySelector("h1").textContent;
  drawAll(article);
}

/** One chart after the other, so that the page stays usable; those on the screen come first. */
async function drawAll(article) {
  if (typeof vegaEmbed === "undefined" || article.dataset.charts) return;
  const left = new Set(article.querySelectorAll("figure.chart:not([data-drawn])"));
  const visible = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      isIntersecting ? visible.add(target) : visible.delete(target);
    }
  }, { rootMargin: "50%" });
  for (const figure of left) observer.observe(figure);
  article.dataset.charts = "drawing";
  while (left.size) {
    // The observer, and the reader, have their turn.
    await new Promise((next) => setTimeout(next));
    if (getComputedStyle(article).display === "none") {
      observer.disconnect();
      delete article.dataset.charts;
      return;
    }
    const figure = [...left].find((one) => visible.has(one)) ?? left.values().next().value;
    left.delete(figure);
    await draw(figure);
  }
  observer.disconnect();
  article.dataset.charts = "drawn";
}

async function draw(figure) {
  const spec = specification(figure);
  const plot = figure.querySelector(".plot");
  delete spec.title; // the page has it as a heading
  spec.config.background = "transparent";
  if (plot.clientWidth < 500) narrow(spec.config);
  await vegaEmbed(plot, spec, { ...OPTIONS, tooltip: TOOLTIP });
  // The plot is an image with a name; its marks have roles without names.
  plot.querySelector("svg").setAttribute("aria-hidden", "true");
  figure.dataset.drawn = "yes";
}

function narrow({ axis, legend }) {
  legend.columns = Math.ceil(legend.columns / 2);
  axis.labelFontSize = legend.labelFontSize = 12;
  axis.labelLimit = 150;
}

function specification(figure) {
  return JSON.parse(figure.querySelector("script").textContent);
}

/** Save a chart as it is in the docs: with its title, and as wide on a phone as on a projector. */
async function save(figure, format) {
  const link = document.createElement("a");
  link.download = `${figure.id}.${format === "json" ? "vl.json" : format}`;
  link.href = format === "json" ? jsonURL(specification(figure)) : await image(figure, format);
  link.click();
}

function jsonURL(spec) {
  const text = JSON.stringify(spec, null, 1);
  return URL.createObjectURL(new Blob([text], { type: "application/json" }));
}

async function image(figure, format) {
  const spec = { ...specification(figure), width: SAVED_WIDTH };
  const options = { ...OPTIONS, renderer: "none", tooltip: false };
  const { view } = await vegaEmbed(document.createElement("div"), spec, options);
  const url = await view.toImageURL(format, 2);
  view.finalize();
  return url;
}

const first = startLanguage();
for (const choice of document.querySelectorAll("input[name=language]")) {
  choice.addEventListener("change", () => show(choice.value));
  if (choice.value === first) choice.checked = true;
}
document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-format]");
  if (button) save(button.closest("figure"), button.dataset.format);
});
show(first);
