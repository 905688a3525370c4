// One HTTP request: its address, its answer, and every way in which it can go wrong.
// A `Trouble` says whether asking again can help, and how long the server wants to be left alone.

// Codes that pass: the same words may be accepted in a moment.
const PASSING = new Set(["network", "too_fast", "busy", "no_broker", "going_away", "too_slow"]);

export class Trouble extends Error {
  constructor(code, message, { retryAfter = 0, final = !PASSING.has(code) } = {}) {
    super(message);
    this.code = code;
    this.retryAfter = retryAfter; // seconds
    this.final = final;
  }
}

// Relative to `location`, so that the page works under whatever name a phone in the room uses; or to
// `base`, another port of the same server.
export function address(room, tail, query = {}, base = location) {
  const url = new URL(`/rooms/${encodeURIComponent(room)}/${tail}`, base);
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined) url.searchParams.set(key, value);
  }
  return url;
}

/** Fetch, or throw a `Trouble`. */
export async function ask(url, options = {}) {
  let response;
  try {
    // Without no-store Chromium locks a URL in its cache: the same question of two tabs would be
    // asked one after the other.  The answer's own no-store comes too late to help.
    response = await fetch(url, { cache: "no-store", ...options });
  } catch {
    throw new Trouble("network", "The server cannot be reached.");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/** Fetch and read JSON; an answer that breaks off is the network's fault. */
export async function askJSON(url, options) {
  const response = await ask(url, options);
  try {
    return await response.json();
  } catch {
    throw new Trouble("network", "The answer broke off.");
  }
}

async function refusal(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  // A proxy in between answers in its own words, not in our JSON.
  const { error = {} } = await response.json().catch(() => ({}));
  const passing = response.status >= 500 || [408, 429].includes(response.status);
  return new Trouble(
    error.code ?? `http_${response.status}`,
    error.message ?? `The answer was ${response.status} ${response.statusText}.`,
    { retryAfter, final: !passing },
  );
}
