/** How values change in the course of time. */
export interface Trend {
  /** Least squares; in the values' unit a unit of time. */
  readonly slope: number;
  /** Standard error of the slope: how much of it the values' scatter alone may make. */
  readonly error: number;
}

/** @param points at least 3, not all at the same time */
export function trendOf(points: readonly (readonly [time: number, value: number])[]): Trend {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const meanTime = mean(points.map(([time]) => time));
  const meanValue = mean(points.map(([, value]) => value));
  let covariance = 0;
  let variance = 0;
  for (const [time, value] of points) {
    covariance += (time - meanTime) * (value - meanValue);
    variance += (time - meanTime) ** 2;
  }
  const slope = covariance / variance;
  const squares = points.map(([time, value]) => (value - meanValue - slope * (time - meanTime)) ** 2);
  const scatter = squares.reduce((sum, square) => sum + square, 0) / (points.length - 2);
  return { slope, error: Math.sqrt(scatter / variance) };
}
