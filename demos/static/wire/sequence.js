// A stub: see LAB.md.
export function showSequence(element, tap) {}
