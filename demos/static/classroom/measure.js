// What a window of time has cost, per transport: the counters of each phone at its end less those at its
// start.  Pure.  The server counts per client, so the figures are those of these phones alone.

import { parseText } from "./rooms.js";

/** `{client: {via, requests, bytes}}` of the phones among the members that the server reports. */
export function snapshot(members, phones) {
  const counts = {};
  for (const { client, via, traffic } of members) {
    if (!phones.has(client)) continue;
    // Only what it takes to receive: a POST of a vote or a report is counted under `messages`.
    const { requests = 0, bytes_in: up = 0, bytes_out: down = 0 } = traffic[via] ?? {};
    counts[client] = { via, requests, bytes: up + down };
  }
  return counts;
}

/** A phone that is away for a moment keeps its last counters. */
export function merge(before, now) {
  return { ...before, ...now };
}

/** `{client: {via, requests, bytes}}` since the first snapshot. */
export function difference(first, last) {
  return Object.fromEntries(Object.entries(last).map(([client, now]) => {
    const before = first[client]?.via === now.via ? first[client] : { requests: 0, bytes: 0 };
    const requests = Math.max(0, now.requests - before.requests);
    return [client, { via: now.via, requests, bytes: Math.max(0, now.bytes - before.bytes) }];
  }));
}

/** Keep the last report of each phone about this run; `reports` is `{client: {received, delay}}`. */
export function takeReports(reports, messages, run) {
  for (const message of messages) {
    const { run: of, received, delay, gaps } = parseText(message);
    if (of !== run || !message.client || !Number.isFinite(received)) continue;
    reports[message.client] = { received, delay: Number.isFinite(delay) ? delay : undefined, gaps: gaps > 0 };
  }
  return reports;
}

/**
 * One row per transport: `{phones, requests, bytes, received, delay, gaps}`; each is the mean per phone, the delay
 * a median, and `gaps` the number of phones that have reported one.
 */
export function rowsOf(transports, costs, reports) {
  return Object.fromEntries(transports.map((transport) => {
    const phones = Object.entries(costs).filter(([, { via }]) => via === transport);
    const reported = phones.map(([client]) => reports[client]).filter(Boolean);
    return [transport, {
      phones: phones.length,
      requests: mean(phones.map(([, { requests }]) => requests)),
      bytes: mean(phones.map(([, { bytes }]) => bytes)),
      received: mean(reported.map(({ received }) => received)),
      delay: median(reported.map(({ delay }) => delay).filter((delay) => delay !== undefined)),
      gaps: reported.filter(({ gaps }) => gaps).length,
    }];
  }));
}

/**
 * What became of messages that a phone had not received at the end: `{what, phones}`, "lost" where a phone has
 * reported a gap, otherwise "late"; an empty object if all were received.
 */
export function deliveryOf(rows, sent) {
  const all = Object.values(rows);
  const phones = all.reduce((sum, { gaps = 0 }) => sum + gaps, 0);
  if (phones) return { what: "lost", phones };
  return all.some(({ received }) => received < sent) ? { what: "late", phones } : {};
}

function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : undefined;
}

/** The value in the middle, or the mean of the two there. */
export function median(values) {
  if (!values.length) return undefined;
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
}
