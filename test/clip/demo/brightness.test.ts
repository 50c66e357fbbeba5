import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { colours } from '../../../src/clip/demo/concepts.ts';
import { type DemoModel, openDemoModel } from './demo-model.ts';
import { flat, painted, type Rgb } from './pictures.ts';

let model: DemoModel;
beforeAll(async () => {
  model = await openDemoModel();
});
afterAll(() => model[Symbol.asyncDispose]());

const best = async (rgb: Rgb, labels: readonly string[]) => (await model.rank(flat(rgb), labels))[0]?.label;

describe('brightness', () => {
  test('parts any dark picture from any bright one, whatever the colour', async () => {
    const value = (from: number, to: number) => fc.integer({ min: from, max: to });
    const dark = fc.tuple(value(0, 70), value(0, 70), value(0, 70));
    const bright = fc.tuple(value(190, 255), value(190, 255), value(190, 255));
    await fc.assert(
      fc.asyncProperty(dark, bright, async (darkRgb, brightRgb) => {
        expect(await best(darkRgb, ['a dark picture', 'a bright picture'])).toBe('a dark picture');
        expect(await best(brightRgb, ['a dark picture', 'a bright picture'])).toBe('a bright picture');
      }),
      { numRuns: 60 },
    );
  });

  test('grows from black to white', async () => {
    let before = -1;
    for (let grey = 0; grey <= 255; grey += 15) {
      const picture = flat([grey, grey, grey]);
      const lead = (await model.similarity(picture, 'bright')) - (await model.similarity(picture, 'dark'));
      // Where grey turns black or white the embedding's other axes shift: worst seen 0.038 back.
      expect(lead).toBeGreaterThanOrEqual(before - 0.05);
      before = lead;
    }
  });

  test('parts the shades of one colour', async () => {
    const shades: [string, Rgb, Rgb][] = [
      ['red', [130, 0, 0], [255, 60, 60]],
      ['green', [0, 70, 10], [140, 240, 140]],
      ['blue', [0, 0, 110], [140, 200, 250]],
      ['purple', [70, 0, 90], [225, 150, 240]],
      ['grey', [75, 75, 75], [205, 205, 205]],
    ];
    for (const [colour, dark, light] of shades) {
      const labels = [`a dark ${colour} thing`, `a light ${colour} thing`];
      expect(await best(dark, labels), colour).toBe(labels[0]!);
      expect(await best(light, labels), colour).toBe(labels[1]!);
    }
  });

  test('does not take the place of a colour', async () => {
    const labels = [...colours, 'dark', 'bright'];
    expect(await best([0, 0, 0], labels)).toBe('black');
    expect(await best([255, 255, 255], labels)).toBe('white');
    expect(await best([0, 0, 128], labels)).toBe('blue');
    expect(await best([255, 255, 0], labels)).toBe('yellow');
  });

  test('answers where no colour fits', async () => {
    expect(await best([0, 0, 0], ['dark', 'red', 'blue', 'bright'])).toBe('dark');
    expect(await best([255, 255, 255], ['dark', 'red', 'blue', 'bright'])).toBe('bright');
  });

  test('is that of most of the picture', async () => {
    const lamp = painted((x, y) => (Math.hypot(x - 150, y - 60) < 25 ? [255, 240, 200] : [25, 22, 30]));
    expect((await model.rank(lamp, ['a bright scene', 'a dark scene']))[0]?.label).toBe('a dark scene');
  });
});
