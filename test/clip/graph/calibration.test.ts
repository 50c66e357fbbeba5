import { describe, expect, test } from 'bun:test';
import { fixedCoding, loudnessOf, type ObservedInput } from '../../../src/clip/graph/calibration.ts';
import { randomNumbers } from './random-checkpoint.ts';

const WIDTH = 64;

/** What is seen of rows, all of which are kept. */
function observed(rows: readonly (readonly number[])[]): ObservedInput {
  const extreme = (choose: (...values: number[]) => number) =>
    Float32Array.from({ length: WIDTH }, (_, channel) => choose(...rows.map((row) => row[channel]!)));
  return { lowest: extreme(Math.min), highest: extreme(Math.max), rows: Float32Array.from(rows.flat()) };
}

const next = randomNumbers(1);
/** Uniformly distributed. */
const randomRow = (low: number, high: number) =>
  Array.from({ length: WIDTH }, () => low + ((next() + 1) / 2) * (high - low));
const rows = (count: number, low: number, high: number) =>
  Array.from({ length: count }, () => randomRow(low, high));
/** The range that a coding can express. */
const rangeOf = ({ scale, zeroPoint }: { scale: number; zeroPoint: number }) => [
  -scale * zeroPoint,
  scale * (255 - zeroPoint),
];

describe('fixedCoding', () => {
  test('reaches a fifth beyond what was seen, below zero as above', () => {
    const coding = fixedCoding(observed(rows(50, -1, 3)))!;
    const [low, high] = rangeOf(coding);
    expect(low).toBeCloseTo(-1.2, 1);
    expect(high).toBeCloseTo(3.6, 1);
  });

  test('contains zero, whatever was seen', () => {
    const [low, high] = rangeOf(fixedCoding(observed(rows(50, 2, 3)))!);
    expect(low).toBeCloseTo(0, 9);
    expect(high).toBeCloseTo(3.6, 1);
    expect(rangeOf(fixedCoding(observed(rows(50, -3, -2)))!)[1]).toBe(0);
  });

  test('is of the channels after they were divided', () => {
    const loud = rows(50, -1, 1).map((row) => row.with(7, 400 * row[7]!));
    expect(fixedCoding(observed(loud))).toBeUndefined();
    const divisors = new Float32Array(WIDTH).fill(1).with(7, 400);
    const [low, high] = rangeOf(fixedCoding(observed(loud), divisors)!);
    expect(low).toBeCloseTo(-1.2, 1);
    expect(high).toBeCloseTo(1.2, 1);
  });

  test('does not exist if one row is so loud that the others would lose their steps', () => {
    expect(fixedCoding(observed([...rows(50, -1, 1), randomRow(-50, 50)]))).toBeUndefined();
    // It also counts if it is not among the rows that were kept.
    const all = observed([...rows(50, -1, 1), randomRow(-50, 50)]);
    expect(fixedCoding({ ...all, rows: all.rows.subarray(0, 50 * WIDTH) })).toBeUndefined();
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 0])(
    'does not exist if all that was seen is %d',
    (value) => {
      expect(fixedCoding(observed(rows(3, 0, 0).map((row) => row.fill(value))))).toBeUndefined();
    },
  );

  test('ignores rows of zeros', () => {
    const some = [...rows(5, -1, 1), ...rows(20, 0, 0)];
    expect(fixedCoding(observed(some))).toEqual(fixedCoding(observed(some.slice(0, 6))));
  });
});

test('a channel is as loud as its largest magnitude', () => {
  const seen = observed([randomRow(-3, -3), randomRow(2, 2)]);
  expect([...loudnessOf(seen)]).toEqual(Array.from({ length: WIDTH }, () => 3));
});
