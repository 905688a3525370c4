// The page of a capture in one file: capture.html with its styles, scripts, texts and the capture in it.  A browser
// loads no module from file://, so each module becomes a data: URL, and an import map (HTML standard §8.1.5)
// says which; imports name the modules by their path instead of relative to the importing one.

import { LANGUAGES } from "../i18n.js";

const PAGE = "capture.html";
// The server puts their version into the URLs of all files but the pages.
const STYLE = /<link rel="stylesheet" href="\.\.\/demos(?:\.[0-9a-f]+)?\/([^"]+)">/g;
const ICON = /<link rel="icon" href="\.\.\/demos(?:\.[0-9a-f]+)?\/([^"]+)">/g;
const SCRIPT = /<script src="\.\.\/demos(?:\.[0-9a-f]+)?\/([^"]+)"><\/script>/g;
const MODULE = /<script type="module" src="\.\.\/demos(?:\.[0-9a-f]+)?\/([^"]+)"><\/script>/g;
const CSS_IMPORT = /@import url\("([^"]+)"\);/g;
const JS_IMPORT = /\b(from|import) "(\.[^"]+)"/g;
// The texts that the modules of this page use.
const KEYS = /^(?:capture|header|part|player|sequence|wire)\.|^page\.\w+\.(?:name|idea)$/;
// Nothing in it may load anything.
const POLICY = "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data:";

/** `load(path)` gives the text of a file in `demos/`; `capture` are the bytes of a pcapng file. */
export async function singleFile(load, name, capture) {
  let page = await load(PAGE);
  page = await replace(page, ICON, async (path) => `<link rel="icon" href="${dataUrl("image/svg+xml", await load(path))}">`);
  page = await replace(page, STYLE, async (path) => `<style>\n${await styles(path, load)}</style>`);
  page = await replace(page, SCRIPT, async (path) => `<script>\n${await load(path)}</script>`);
  page = await replace(page, MODULE, (path) => modules(path, load));
  const data = [...await catalogues(load), script("capture", btoa(binary(capture)), { id: "embedded-capture", name })];
  const policy = `<meta http-equiv="Content-Security-Policy" content="${POLICY}">`;
  return page
    .replace("<meta charset", () => `${policy}\n<meta charset`)
    .replace("</body>", () => `${data.join("\n")}\n</body>`);
}

/** The text of a file in `demos/`, from the server of this page. */
export async function loadPart(path) {
  // Only the page itself is at the same path in every version.
  const folder = path === PAGE ? "../../../demos" : "../..";
  const response = await fetch(new URL(`${folder}/${path}`, import.meta.url));
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.text();
}

// Like `replaceAll`, with a function that may wait.
async function replace(text, pattern, make) {
  const made = await Promise.all([...text.matchAll(pattern)].map(([, path]) => make(path)));
  return text.replace(pattern, () => made.shift());
}

function styles(path, load) {
  return load(path).then((css) => replace(css, CSS_IMPORT, (file) => styles(resolve(path, file), load)));
}

async function modules(entry, load) {
  const imports = {};
  const started = new Set();
  async function add(path) {
    if (started.has(path)) return;
    started.add(path);
    const source = await load(path);
    const renamed = source.replace(JS_IMPORT, (_, keyword, file) => `${keyword} "${resolve(path, file)}"`);
    imports[path] = dataUrl("text/javascript", renamed);
    await Promise.all([...source.matchAll(JS_IMPORT)].map(([, , file]) => add(resolve(path, file))));
  }
  await add(entry);
  return `<script type="importmap">${json({ imports })}</script>\n<script type="module">import ${JSON.stringify(entry)};</script>`;
}

async function catalogues(load) {
  return Promise.all(Object.keys(LANGUAGES).map(async (code) => {
    const texts = Object.entries(JSON.parse(await load(`i18n/${code}.json`)));
    const used = Object.fromEntries(texts.filter(([key]) => KEYS.test(key)));
    return script("json", json(used), { catalogue: code });
  }));
}

// Data that a script reads, and no browser runs.
function script(type, text, { id, ...data }) {
  const attributes = Object.entries(data).map(([key, value]) => ` data-${key}="${value}"`);
  return `<script type="application/${type}"${id ? ` id="${id}"` : ""}${attributes.join("")}>${text}</script>`;
}

function resolve(path, file) {
  return new URL(file, `file:///${path}`).pathname.slice(1);
}

// An end tag in a text would end its script.
function json(value) {
  return JSON.stringify(value).replaceAll("<", "\\u003c");
}

function dataUrl(type, text) {
  return `data:${type};charset=utf-8,${encodeURIComponent(text)}`;
}

function binary(bytes) {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}
