// One HTTP request: its address, its answer, and every way in which it can go wrong.
// A `Trouble` says whether asking again can help, and how long the server wants to be left alone.

import { explain, t } from "./words.js";

// Codes that pass: the same words may be accepted in a moment.
const PASSING = new Set(["network", "too_fast", "busy", "no_broker", "going_away", "too_slow"]);

/** `message` is for people, in their language; `said` are the server's own words, where it had any. */
export class Trouble extends Error {
  constructor(code, message, { said, retryAfter = 0, final = !PASSING.has(code) } = {}) {
    super(message);
    this.code = code;
    this.said = said;
    this.retryAfter = retryAfter; // seconds
    this.final = final;
  }
}

/** What the server refused, by a code of its own. */
export function refused(code, said, options) {
  return new Trouble(code, explain(code, said), { said, ...options });
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
    throw new Trouble("network", t("trouble.unreachable"));
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
    throw new Trouble("network", t("trouble.broken_answer"));
  }
}

async function refusal(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  const { status } = response;
  const final = status < 500 && ![408, 429].includes(status);
  // A proxy in between answers in its own words, not in our JSON.
  const { error } = await response.json().catch(() => ({}));
  if (error) return refused(error.code, error.message, { retryAfter, final });
  return new Trouble(`http_${status}`, t("trouble.http", { status }), { retryAfter, final });
}
