import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { brightnesses } from '../../../src/clip/demo/concepts.ts';
import { type PlaneName, planes, regions } from '../../../src/clip/demo/vision-tower.ts';
import type { Rgb } from './pictures.ts';

/** Whether a colour lies on the side of a plane that counts. */
function counts(name: PlaneName, rgb: Rgb): boolean {
  const { coefficients, threshold } = planes[name];
  const [red, green, blue] = rgb.map((value) => value / 255) as [number, number, number];
  const chroma = Math.max(red, green, blue) - Math.min(red, green, blue);
  const { red: r, green: g, blue: b, chroma: c } = coefficients;
  return r * red + g * green + b * blue + c * chroma > threshold;
}

describe('colour regions', () => {
  test('leave no colour without a name, and give none two', () => {
    const colourRegions = regions.filter(({ concept }) => !brightnesses.some((name) => name === concept));
    const byte = fc.integer({ min: 0, max: 255 });
    fc.assert(
      fc.property(fc.tuple(byte, byte, byte), (rgb) => {
        const holding = colourRegions.filter(({ all }) =>
          all.every((condition) =>
            condition.startsWith('not ')
              ? !counts(condition.slice(4) as PlaneName, rgb)
              : counts(condition as PlaneName, rgb),
          ),
        );
        expect(holding, rgb.join()).toHaveLength(1);
      }),
      { numRuns: 5000 },
    );
  });

  test('are bounded by planes that are all used', () => {
    const used = new Set(regions.flatMap(({ all }) => all.map((condition) => condition.replace('not ', ''))));
    expect([...used].sort()).toEqual(Object.keys(planes).sort());
  });
});
