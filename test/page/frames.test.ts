import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { bestFramesOf, lanesOf, marksOf, separatePictures } from '../../src/page/results/frames.ts';
import { videoDetails } from './video-details.ts';

describe('the best frames of a video', () => {
  test('are listed with the next best ones, as many as are asked for', () => {
    expect(
      bestFramesOf(videoDetails, {}, 2).map(({ category, others }) => [category, others.length]),
    ).toEqual([
      ['cat', 1],
      ['dog', 0],
      ['bird', 0],
    ]);
  });

  test('below the threshold are left out, and so are next best ones', () => {
    expect(
      bestFramesOf(videoDetails, { threshold: 0.5 }, 3).map(({ category, others }) => [
        category,
        others.length,
      ]),
    ).toEqual([
      ['cat', 0],
      ['dog', 0],
    ]);
  });

  test('have the parts in which their categories hold, in the order of time', () => {
    const [cat, dog] = bestFramesOf(videoDetails, {}, 1);
    expect(cat?.moments.map(({ start, end }) => [start, end])).toEqual([
      [0.5, 1],
      [1.5, 3],
    ]);
    expect(dog?.moments).toEqual([]);
  });

  test('stand on the time line once, in the order of time', () => {
    expect(marksOf(bestFramesOf(videoDetails, {}, 1))).toEqual([
      { timestamp: 0.5, categories: ['bird'] },
      { timestamp: 2, categories: ['cat', 'dog'] },
    ]);
  });
});

describe('the frames’ pictures', () => {
  test('are taken out of the answer, each frame’s once', async () => {
    const { details, pictures } = separatePictures(videoDetails);
    expect([...pictures.keys()]).toEqual([2, 0.5]);
    expect(await pictures.get(2)?.bytes()).toEqual(Uint8Array.of(0xff, 0xd8, 0xff));
    expect(pictures.get(2)?.type).toBe('image/jpeg');
    expect(JSON.stringify(details)).not.toContain('/9j/');
    expect(details.results.map(({ category }) => category)).toEqual(['cat', 'dog', 'bird']);
  });
});

describe('marks on a line', () => {
  test('take the first lane with room', () => {
    expect(lanesOf([0, 5, 10, 12, 30], 10, 4)).toEqual([0, 1, 0, 2, 0]);
  });

  test('never cover each other while there are lanes', () => {
    const positions = fc.array(fc.integer({ min: 0, max: 100 }), { maxLength: 12 });
    fc.assert(
      fc.property(positions, (unsorted) => {
        const sorted = unsorted.toSorted((a, b) => a - b);
        const lanes = lanesOf(sorted, 10, 12);
        for (const [index, position] of sorted.entries()) {
          for (let before = 0; before < index; before++) {
            if (lanes[before] === lanes[index]) expect(position - sorted[before]!).toBeGreaterThanOrEqual(10);
          }
        }
      }),
    );
  });

  test('share the last lane when there is no further one', () => {
    expect(lanesOf([0, 0, 0], 10, 2)).toEqual([0, 1, 1]);
  });
});
