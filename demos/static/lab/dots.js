// A dot per message: time runs to the right, delay upwards, in powers of ten.

const SECONDS = 30; // in sight
const LEAST = 0.1; // ms, the lower edge
const MOST = 10_000;
const LINES = [1, 10, 100, 1000];

/** Draw the delays of the last half minute on a canvas, in the colour of its pane. */
export function drawDots(canvas, points, now) {
  const { width, height, ink, line, way, context } = prepare(canvas);
  context.fillStyle = ink;
  context.strokeStyle = line;
  context.font = "10px system-ui";
  for (const ms of LINES) {
    const y = heightOf(ms, height);
    context.beginPath();
    context.moveTo(0, y);
    context.lineTo(width, y);
    context.stroke();
    context.fillText(ms < 1000 ? `${ms} ms` : `${ms / 1000} s`, 2, y - 2);
  }
  context.fillStyle = way;
  for (const { at, delay } of points) {
    const x = width * (1 - (now - at) / SECONDS);
    if (x < 0) continue;
    context.beginPath();
    context.arc(x, heightOf(delay, height), 2.5, 0, 2 * Math.PI);
    context.fill();
  }
}

function heightOf(delay, height) {
  const part = Math.log10(Math.max(delay, LEAST) / LEAST) / Math.log10(MOST / LEAST);
  return height * (1 - Math.min(part, 1)) + 1;
}

// A canvas is as many pixels as the screen has for it, and has no colours of the sheet by itself.
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
  const { color: ink, borderTopColor: line, outlineColor: way } = getComputedStyle(canvas);
  return { width, height, ink, line, way, context };
}
