// One HTTP request to the server: its URL, its response, and every way in which it can fail.

import { secretOf } from "./identity.js";

// The same request may succeed in a moment.
const TRANSIENT = new Set([
  "network", "too_fast", "busy", "no_broker", "going_away", "too_slow", "name_not_approved",
]);

/** What went wrong, in English; pages explain the `code`, or the `reason` of an error that the server did not send. */
export class ApiError extends Error {
  /**
   * @param {string} code @param {string} [message]
   * @param {{ reason?: string, status?: number, retryAfter?: number, final?: boolean }} [details]
   */
  constructor(code, message = code, { reason, status, retryAfter = 0, final = !TRANSIENT.has(code) } = {}) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.status = status;
    this.retryAfter = retryAfter; // seconds
    this.final = final; // a retry does not help
  }
}

/** There was no complete response: unreachable, broken_answer, broken_connection, no_answer, no_connection. */
export function networkError(reason) {
  return new ApiError("network", reason.replace("_", " "), { reason });
}

// Relative to this file: under any host name, and below any path at which a proxy has the server.
export const ROOT = new URL("../../", import.meta.url);

/** The URL of a room; `base` is another port of the server.  With a `client` of this page, it has its secret. */
export function roomUrl(room, path, query = {}, base = ROOT) {
  const url = new URL(`rooms/${encodeURIComponent(room)}/${path}`, base);
  url.search = `${new URLSearchParams(withSecret(query))}`;
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
    // Else Chromium and Firefox lock the URL in their caches, and two tabs send the same request in turn.
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
