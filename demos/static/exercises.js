// A stub: see LAB.md.
export function showExercises(element, transport) {}
