// A canvas as large as its element, with as many pixels as the screen has for it.

// The sizes come from an observer: to read them while the page is being changed would force a layout, nine
// times per drawing.
const sizes = new WeakMap();
const observer = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) sizes.set(target, contentRect);
});

/** Fit a canvas to its element, and empty it. */
export function prepare(canvas) {
  if (!sizes.has(canvas)) {
    sizes.set(canvas, { width: canvas.clientWidth, height: canvas.clientHeight });
    observer.observe(canvas);
  }
  const { width, height } = sizes.get(canvas);
  const [columns, rows] = [width, height].map((length) => Math.round(length * devicePixelRatio));
  if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d");
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}
