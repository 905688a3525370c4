// A lesson is a list of steps, and a step is a list of beats: what "next" does, one after the other.
//
//   show ─▶ vote ─▶ bars ─▶ run ─▶ result      (a step with an exercise and an experiment)
//
// Pure: the state of the lesson in, the next state out.

/** How long each experiment is measured (s), and what is sent meanwhile. */
export const EXPERIMENTS = {
  quiet: { seconds: 60, messages: 0, perSecond: 0 },
  messages: { seconds: 16, messages: 50, perSecond: 5 },
  // The phones are disconnected for the first `offline` seconds.
  disconnect: { seconds: 20, messages: 20, perSecond: 2, offline: 5 },
};

/** The steps of the plan, and between them the exercise that a lecturer added: `{at, step}`. */
export function stepsWith(steps, extra) {
  return extra ? [...steps.slice(0, extra.at), extra.step, ...steps.slice(extra.at)] : steps;
}

/** The number of steps of the plan up to the one at `step`, without the added one. */
export function plannedUpTo(step, extra) {
  return extra && step >= extra.at ? step : step + 1;
}

/** The beats of a step of the plan. */
export function beatsOf({ exercise, experiment }) {
  return [
    "show",
    ...(exercise ? ["vote", "bars"] : []),
    ...(experiment ? ["run"] : []),
    ...(exercise ? ["result"] : []),
  ];
}

/** The position after `{step, beat}`, or the same at the end of the lesson. */
export function nextPosition(steps, { step, beat }) {
  if (beat + 1 < beatsOf(steps[step]).length) return { step, beat: beat + 1 };
  return step + 1 < steps.length ? { step: step + 1, beat: 0 } : { step, beat };
}

/** The position before: an earlier beat of this step, or the first one of the step before. */
export function previousPosition({ step, beat }) {
  if (beat > 0) return { step, beat: beat - 1 };
  return { step: Math.max(0, step - 1), beat: 0 };
}

/** A text of the plan in this language: it is a string, or has one for each language. */
export function textOf(text, language) {
  return typeof text === "object" ? text[language] ?? text.en : text;
}

/** An experiment that starts at `at`, in ms. */
export function newRun(id, kind, at, seconds = EXPERIMENTS[kind]?.seconds) {
  return { id, kind, at, seconds };
}

/**
 * The ids of the messages of a run that are due at `now`.  They follow from the id of the run: two windows
 * that send them, or one that was reloaded, send no message twice, since the server keeps each id once.
 */
export function dueMessages({ id, kind, at }, now) {
  const { messages = 0, perSecond = 0 } = EXPERIMENTS[kind] ?? {};
  const due = Math.min(messages, Math.floor(((now - at) / 1000) * perSecond) + 1);
  return Array.from({ length: Math.max(0, due) }, (_, n) => messageId(id, n));
}

function messageId(run, n) {
  return run.slice(0, 32) + n.toString(16).padStart(4, "0");
}

/** Whether a message belongs to a run. */
export function isOfRun(message, run) {
  return message.slice(0, 32) === run.slice(0, 32);
}

/** The time since `at`, as a stopwatch shows it: 4:07. */
export function stopwatch(at, now) {
  const seconds = Math.max(0, Math.floor((now - at) / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
