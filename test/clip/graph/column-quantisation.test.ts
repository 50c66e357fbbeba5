import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { quantiseColumns, quantiseColumnsDiffused } from '../../../src/clip/graph/linear.ts';

const matrix = fc
  .record({ inputWidth: fc.integer({ min: 1, max: 40 }), outputWidth: fc.integer({ min: 1, max: 9 }) })
  .chain(({ inputWidth, outputWidth }) =>
    fc
      .float32Array({
        minLength: inputWidth * outputWidth,
        maxLength: inputWidth * outputWidth,
        noNaN: true,
        noDefaultInfinity: true,
      })
      .map((weight) => ({ weight, inputWidth, outputWidth })),
  );

describe('quantiseColumns', () => {
  test('scales each column so that its largest weight is 127', () => {
    const { values, scales } = quantiseColumns({
      weight: Float32Array.of(1, -20, 0.25, 254, -0.4, 20),
      inputWidth: 3,
      outputWidth: 2,
    });
    expect(scales).toEqual(Float32Array.of(1 / 127, 2));
    expect([...values]).toEqual([127, -10, 32, 127, -51, 10]);
  });

  test('leaves a column of zeros at zero', () => {
    const weights = { weight: Float32Array.of(0, 3, 0, 4), inputWidth: 2, outputWidth: 2 };
    const { values, scales } = quantiseColumns(weights);
    expect([...values]).toEqual([0, 95, 0, 127]);
    expect(scales[0]).toBe(1);
  });

  test('is never further off than half a step, and never −128', () => {
    fc.assert(
      fc.property(matrix, (weights) => {
        const { values, scales } = quantiseColumns(weights);
        expect(values.every((value) => value >= -127)).toBe(true);
        weights.weight.forEach((weight, index) => {
          const scale = scales[index % weights.outputWidth] ?? Number.NaN;
          // A hair more than half: the scale is rounded itself.
          expect(Math.abs(weight - (values[index] ?? Number.NaN) * scale)).toBeLessThanOrEqual(
            0.50002 * scale,
          );
        });
      }),
    );
  });
});

describe('quantiseColumnsDiffused', () => {
  test('puts what one weight loses on the next of its kind', () => {
    const weights = { weight: Float32Array.of(127, 0.4, 0.4, 0.4, 0.4, 0.4), inputWidth: 6, outputWidth: 1 };
    expect([...quantiseColumns(weights).values]).toEqual([127, 0, 0, 0, 0, 0]);
    expect([...quantiseColumnsDiffused(weights, 1).values]).toEqual([127, 0, 1, 0, 1, 0]);
    // Rows 0, 2, 4 and rows 1, 3, 5.
    expect([...quantiseColumnsDiffused(weights, 2).values]).toEqual([127, 0, 0, 1, 1, 0]);
  });

  test('is never off by more than a step in the sum of a kind', () => {
    fc.assert(
      fc.property(matrix, fc.integer({ min: 1, max: 3 }), (weights, kinds) => {
        const { weight, outputWidth } = weights;
        const { values, scales } = quantiseColumnsDiffused(weights, kinds);
        for (let kind = 0; kind < kinds; kind++) {
          for (let column = 0; column < outputWidth; column++) {
            let sum = 0;
            weight.forEach((value, index) => {
              const isHere =
                index % outputWidth === column && Math.floor(index / outputWidth) % kinds === kind;
              if (isHere) sum += value / (scales[column] ?? Number.NaN) - (values[index] ?? Number.NaN);
            });
            expect(Math.abs(sum)).toBeLessThanOrEqual(1.001);
          }
        }
      }),
    );
  });
});
