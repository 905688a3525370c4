// A stub: see LAB.md.
export function showWire(element, tap) {}
