// Libraries of others: set-up copies them to /demos/vendor, and a page loads them when it needs them.

import { Trouble } from "./ask.js";
import { make } from "./make.js";
import { t } from "./words.js";

const loading = new Map();

/** Load a file of /demos/vendor once; gives what it leaves under `name`, or undefined without it. */
export function library(path, name) {
  if (!loading.has(path)) loading.set(path, load(path, name));
  return loading.get(path);
}

/** The file is not there: set-up could not fetch it. */
export function noLibrary() {
  return new Trouble("no_library", t("trouble.no_library"));
}

/** The student has forbidden every way. */
export function noWay() {
  return new Trouble("no_way", t("trouble.no_way"));
}

function load(path, name) {
  return new Promise((resolve) => {
    const script = make("script");
    script.src = `/demos/vendor/${path}`;
    script.onload = () => resolve(window[name]);
    script.onerror = () => {
      loading.delete(path); // set-up may bring it while the page is open
      script.remove();
      resolve(undefined);
    };
    document.head.append(script);
  });
}
