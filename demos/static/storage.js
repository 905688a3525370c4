// What the browser keeps for us: `local` until it is deleted, `session` as long as this tab.  A browser that
// blocks cookies refuses both with an exception; then the page works without memory.

// Other programs also run on this host and port.
const PREFIX = "realtime.";

export const local = store(() => localStorage);
export const session = store(() => sessionStorage);

// Even reading the property `localStorage` may throw (HTML standard §12.2.3).
function store(area) {
  const attempt = (access) => {
    try {
      return access(area());
    } catch {
      return undefined;
    }
  };
  return {
    /** The text of a key, or undefined. */
    get: (key) => attempt((storage) => storage.getItem(PREFIX + key)) ?? undefined,
    /** Whether the text is kept. */
    set: (key, text) => attempt((storage) => (storage.setItem(PREFIX + key, text), true)) ?? false,
    remove: (key) => { attempt((storage) => storage.removeItem(PREFIX + key)); },
  };
}
