const PACE_MS = 150;

/** Calls `draw` soon after it was asked for, however often, but not all the time. */
export function throttled(draw: () => void): () => void {
  let isPlanned = false;
  let drawnAt = Number.NEGATIVE_INFINITY;
  return () => {
    if (isPlanned) return;
    isPlanned = true;
    const wait = Math.max(0, drawnAt + PACE_MS - performance.now());
    setTimeout(() => {
      isPlanned = false;
      draw();
      drawnAt = performance.now();
    }, wait);
  };
}
