// Labels at positions that are too close to each other.

/** Move positions apart until they have `distance`, in their order and within `end`. */
export function spread(positions, distance, end) {
  const order = positions.map((_, n) => n).sort((a, b) => positions[a] - positions[b] || a - b);
  const result = [];
  let free = distance / 2;
  for (const n of order) {
    result[n] = Math.max(positions[n], free);
    free = result[n] + distance;
  }
  let limit = end - distance / 2;
  for (const n of order.reverse()) {
    result[n] = Math.min(result[n], limit);
    limit = result[n] - distance;
  }
  return result;
}
