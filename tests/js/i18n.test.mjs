// Languages: which one a page uses, how it writes numbers and times, and how texts take values.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { runInNewContext } from "node:vm";

import { ApiError, networkError } from "../../demos/static/api.js";
import { formatter } from "../../demos/static/format.js";
import { explain, parts, setLanguage, t } from "../../demos/static/i18n.js";

process.env.TZ = "Asia/Taipei";

const THEME = readFileSync(new URL("../../demos/static/theme.js", import.meta.url), "utf8");

/** Run theme.js in a browser with these languages, and return the language of the page. */
function languageOf({ languages = ["en"], query = "", stored }) {
  const documentElement = { dataset: {}, toggleAttribute() {} };
  const localStorage = { getItem: (key) => (key === "realtime.language" ? stored : null) ?? null };
  runInNewContext(THEME, {
    document: { documentElement }, localStorage, location: { search: query }, navigator: { languages },
    Intl, setTimeout() {}, URLSearchParams, self: "a window", top: "a window",
  });
  return documentElement.lang;
}

for (const [tag, language] of [
  ["zh-TW", "zh-Hant"], ["zh-HK", "zh-Hant"], ["zh-MO", "zh-Hant"], ["zh-CN", "zh-Hans"], ["zh", "zh-Hans"],
  ["en-GB", "en"], ["fr", "en"],
]) {
  test(`a browser in ${tag} shows ${language}`, () => {
    assert.equal(languageOf({ languages: [tag] }), language);
  });
}

test("a browser's second language is better than English", () => {
  assert.equal(languageOf({ languages: ["fr", "zh-TW"] }), "zh-Hant");
});

test("the URL wins over the stored language, and that over the browser", () => {
  assert.equal(languageOf({ languages: ["zh-CN"], stored: "zh-Hant" }), "zh-Hant");
  assert.equal(languageOf({ languages: ["zh-CN"], stored: "zh-Hant", query: "?lang=en" }), "en");
});

for (const wanted of ["constructor", "xx-yy-zz-!", "%25%25", "", "tlh"]) {
  test(`an unknown language does no harm: ${JSON.stringify(wanted)}`, () => {
    assert.equal(languageOf({ query: `?lang=${wanted}` }), "en");
  });
}

test("numbers and times are those of the language", () => {
  const moment = Date.UTC(2026, 10, 23, 7, 30);
  const { number, time } = formatter("zh-Hant");
  assert.deepEqual([time(moment), number(1234567.5)], ["下午3:30:00", "1,234,567.5"]);
  assert.equal(formatter("zh-Hans").time(moment), "15:30:00");
  assert.match(formatter("en").time(moment), /^3:30:00\sPM$/);
  assert.equal(number(2.345, { maximumFractionDigits: 1 }), "2.3");
});

test("a text takes values, and keeps the place of one that is missing", () => {
  setLanguage("en", { greeting: "hello {name}, {count} new" });
  assert.equal(t("greeting", { name: "Ada" }), "hello Ada, {count} new");
  const element = {};
  assert.deepEqual(parts("greeting", { name: element, count: 2 }), ["hello ", element, ", ", 2, " new"]);
});

test("a missing text shows its key", () => {
  setLanguage("en", {});
  assert.equal(t("no.such.key"), "no.such.key");
});

test("an error that the server did not send is explained by its reason, and one of the page has its own text", () => {
  setLanguage("en", { "trouble.unreachable": "No server.", "trouble.http": "It was {status}." });
  assert.equal(explain(networkError("unreachable")), "No server.");
  assert.equal(explain(new ApiError("http_502", undefined, { reason: "http", status: 502 })), "It was 502.");
  assert.equal(explain(new Error("no canvas")), "no canvas");
});

test("an unknown error code is explained by the server's own message", () => {
  setLanguage("en", { "trouble.busy": "Wait.", "trouble.with_code": "{words} ({code})" });
  assert.equal(explain({ code: "busy", message: "Busy." }), "Wait. (busy)");
  assert.equal(explain({ code: "new_code", message: "Something new." }), "Something new. (new_code)");
  assert.equal(explain({ code: "new_code", message: "new_code" }), "new_code");
});
