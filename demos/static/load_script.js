// Third-party libraries: set-up copies them to /demos/vendor, and a page loads them when it needs them.

import { ApiError } from "./api.js";
import { el } from "./dom.js";

const loading = new Map();

/** Load a script of /demos/vendor once; resolves with the global `name`, or undefined without the file. */
export function loadScript(path, name) {
  if (!loading.has(path)) loading.set(path, load(path, name));
  return loading.get(path);
}

/** The file is missing: set-up could not fetch it. */
export function libraryMissing() {
  return new ApiError("no_library", undefined, { reason: "no_library" });
}

/** The student has forbidden every transport of the library. */
export function noTransportAllowed() {
  return new ApiError("no_way", undefined, { reason: "no_way" });
}

function load(path, name) {
  return new Promise((resolve) => {
    const script = el("script", { src: new URL(`../vendor/${path}`, import.meta.url) });
    script.onload = () => resolve(window[name]);
    script.onerror = () => {
      loading.delete(path); // set-up may add the file while the page is open
      script.remove();
      resolve(undefined);
    };
    document.head.append(script);
  });
}
