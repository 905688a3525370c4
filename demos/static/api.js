// One HTTP request to the server: its URL, its response, and every way in which it can fail.
// An `ApiError` says whether a retry can help, and how long the server wants us to wait before it.

import { secretOf } from "./identity.js";

// The same request may succeed in a moment.
const TRANSIENT = new Set([
  "network", "too_fast", "busy", "no_broker", "going_away", "too_slow", "name_not_approved",
]);

/**
 * What went wrong.  `message` is in English: the server's own, where it sent one.  An error that it did not send has a
 * `reason`.  Pages translate both (`explain` in i18n.js).
 */
export class ApiError extends Error {
  constructor(code, message = code, { reason, status, retryAfter = 0, final = !TRANSIENT.has(code) } = {}) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.status = status; // of a response that is not from this server
    this.retryAfter = retryAfter; // seconds
    this.final = final;
  }
}

const NETWORK_ERRORS = {
  unreachable: "The server cannot be reached.",
  broken_answer: "The response ended too early.",
  broken_connection: "The connection was lost.",
  no_answer: "No response came.",
  no_connection: "There is no connection.",
};

/** There was no complete response, for one of these reasons. */
export function networkError(reason) {
  return new ApiError("network", NETWORK_ERRORS[reason], { reason });
}

// Where the server is: relative to this file, so that the pages work under any host name that a phone uses,
// and below any path at which a proxy has the server (`--root-path`).
export const ROOT = new URL("../../", import.meta.url);

/**
 * The URL of a room, at `ROOT` or at `base`, another port of the same server.  With a `client` of this page
 * in its query, it also has the secret of that client.
 */
export function roomUrl(room, path, query = {}, base = ROOT) {
  const url = new URL(`rooms/${encodeURIComponent(room)}/${path}`, base);
  url.search = new URLSearchParams(withSecret(query));
  return url;
}

/** The parameters of a query that have a value, and the secret of its client. */
export function withSecret(query) {
  const all = Object.entries({ ...query, secret: query.secret ?? secretOf(query.client) });
  return Object.fromEntries(all.filter(([, value]) => value !== undefined));
}

/** Fetch, or throw an `ApiError`. */
export async function request(url, options = {}) {
  let response;
  try {
    // Without no-store Chromium and Firefox lock a URL in their caches, and send the same request of two
    // tabs one after the other.  The response's own no-store comes too late to help.
    response = await fetch(url, { cache: "no-store", ...options });
  } catch {
    throw networkError("unreachable");
  }
  if (!response.ok) throw await responseError(response);
  return response;
}

/** Fetch and parse JSON.  A response that breaks off is a network error. */
export async function requestJSON(url, options) {
  const response = await request(url, options);
  try {
    return await response.json();
  } catch {
    throw networkError("broken_answer");
  }
}

async function responseError(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  const { status } = response;
  // A refusal is final, unless the server says when to try again.
  const final = status < 500 && ![408, 429].includes(status) && !retryAfter;
  // A proxy in between sends its own error page, not our JSON.
  const { error } = await response.json().catch(() => ({}));
  if (error) return new ApiError(error.code, error.message, { retryAfter, final });
  return new ApiError(`http_${status}`, undefined, { reason: "http", status, retryAfter, final });
}
