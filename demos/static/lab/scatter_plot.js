// One dot per message: time runs to the right, delay upwards on a logarithmic scale.

export const SECONDS = 30; // width of the plot
const MIN_DELAY = 0.1; // ms, the lower edge
const MAX_DELAY = 10_000;
const GRID_LINES = [1, 10, 100, 1000];

/** Draw the delays of the last half minute on a canvas, in the colour of its pane. */
export function drawScatterPlot(canvas, points, now) {
  const { width, height, textColor, lineColor, dotColor, context } = prepare(canvas);
  context.fillStyle = textColor;
  context.strokeStyle = lineColor;
  context.font = "10px system-ui";
  for (const ms of GRID_LINES) {
    const y = yOf(ms, height);
    context.beginPath();
    context.moveTo(0, y);
    context.lineTo(width, y);
    context.stroke();
    context.fillText(ms < 1000 ? `${ms} ms` : `${ms / 1000} s`, 2, y - 2);
  }
  context.fillStyle = dotColor;
  for (const { at, delay } of points) {
    const x = width * (1 - (now - at) / SECONDS);
    if (x < 0) continue;
    context.beginPath();
    context.arc(x, yOf(delay, height), 2.5, 0, 2 * Math.PI);
    context.fill();
  }
}

function yOf(delay, height) {
  const fraction = Math.log10(Math.max(delay, MIN_DELAY) / MIN_DELAY) / Math.log10(MAX_DELAY / MIN_DELAY);
  return height * (1 - Math.min(fraction, 1)) + 1;
}

// A canvas has as many pixels as the screen has for it.  It cannot use CSS variables, so it reads three
// colours that lab.css puts on the element.
function prepare(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio;
  if (canvas.width !== width * scale || canvas.height !== height * scale) {
    canvas.width = width * scale;
    canvas.height = height * scale;
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const { color: textColor, borderTopColor: lineColor, outlineColor: dotColor } = getComputedStyle(canvas);
  return { width, height, textColor, lineColor, dotColor, context };
}
