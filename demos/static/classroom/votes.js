// Predictions of the class: votes are messages in a room, and the last one of each phone counts.  Pure.

import { offsetOf, parseText } from "./rooms.js";

export const CHOICES = ["a", "b", "c"];

/** The text of a message that votes. */
export function voteText(vote, choice) {
  return JSON.stringify({ vote, choice });
}

/** The votes among messages: `{client, offset, vote, choice}`. */
export function votesIn(messages) {
  const votes = messages.map((message) => {
    const { vote, choice } = parseText(message);
    return { client: message.client, offset: offsetOf(message.cursor), vote, choice };
  });
  return votes.filter(({ client, choice }) => client && CHOICES.includes(choice));
}

/**
 * The votes of `vote` that can still count: the last two of each client, since the last one may have been
 * published after the vote was closed.
 */
export function latest(votes, vote) {
  const kept = new Map();
  for (const one of votes) {
    if (one.vote === vote) kept.set(one.client, [...(kept.get(one.client) ?? []).slice(-1), one]);
  }
  return [...kept.values()].flat();
}

/**
 * `{counts: {a, b, c}, voters}` of one vote, by these clients.  `until` is the cursor at which it was closed:
 * what was published later does not count, whenever it is read.
 */
export function tally(votes, { id, until }, clients) {
  const last = until === undefined ? Infinity : offsetOf(until);
  const chosen = new Map();
  for (const { client, offset, vote, choice } of votes) {
    if (vote === id && offset <= last && clients.has(client)) chosen.set(client, choice);
  }
  const choices = [...chosen.values()];
  const counts = Object.fromEntries(CHOICES.map((one) => [one, choices.filter((choice) => choice === one).length]));
  return { counts, voters: chosen.size };
}
