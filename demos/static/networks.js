// A stub: see LAB.md.
export async function networkControl(element, onChange) {}
