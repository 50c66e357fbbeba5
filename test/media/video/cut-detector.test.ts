import { describe, expect, test } from 'bun:test';
import { createCutDetector, type Judgement } from '../../../src/media/video/scene-tracker.ts';

/** One judgement a frame, frames 0.1 s apart. Colours do not change unless it is said. */
function judge(
  differences: readonly number[],
  colours: Readonly<Record<number, number>> = {},
): { judgements: Judgement[]; rest: number | undefined } {
  const detector = createCutDetector();
  const judgements = differences.map((content, index) =>
    detector.look(index / 10, { content, colour: colours[index] ?? 0.5 }),
  );
  return { judgements, rest: detector.finish() };
}

function cutsOf(differences: readonly number[], colours: Readonly<Record<number, number>> = {}): number[] {
  const { judgements, rest } = judge(differences, colours);
  return [...judgements.map(({ cutAt }) => cutAt), rest].filter((cutAt) => cutAt !== undefined);
}

describe('createCutDetector', () => {
  test('finds a difference that stands out, as soon as the frames after it are known', () => {
    const { judgements } = judge([1, 1, 1, 1, 60, 1, 1, 1, 1]);
    expect(judgements.map(({ cutAt }) => cutAt)).toEqual([...Array(7).fill(undefined), 0.4, undefined]);
  });

  test('finds no cut under a fast camera, where all frames differ', () => {
    expect(cutsOf([40, 42, 38, 45, 41, 39, 44, 40])).toEqual([]);
  });

  test('finds a cut in a fast camera that stands out from its motion', () => {
    expect(cutsOf([15, 16, 14, 15, 90, 15, 14, 16])).toEqual([0.4]);
  });

  test('finds a cut in the fastest camera by its colours', () => {
    expect(cutsOf([40, 42, 38, 45, 50, 39, 44, 40], { 4: 25 })).toEqual([0.4]);
    expect(cutsOf([40, 42, 38, 45, 50, 39, 44, 40], { 4: 9 })).toEqual([]);
  });

  test('reports frames under a fast camera as settled', () => {
    const { judgements } = judge([1, 40, 42, 38, 45, 41, 39, 44]);
    expect(judgements.at(-1)?.standing).toBe('settled');
  });

  test('does not report a small difference as a cut, even among still frames', () => {
    expect(cutsOf([0, 0, 0, 0, 14, 0, 0, 0])).toEqual([]);
  });

  test('finds cuts that are close to each other, and close to the end', () => {
    expect(cutsOf([0, 0, 50, 0, 0, 0, 0, 50, 0])).toEqual([0.2, 0.7]);
  });

  test('distinguishes a possible cut, the frames after it and settled frames', () => {
    const { judgements } = judge([1, 1, 60, 1, 1, 1, 1]);
    expect(judgements.map(({ standing }) => standing)).toEqual([
      'settled',
      'settled',
      'jump',
      'after',
      'after',
      'settled',
      'settled',
    ]);
  });
});
