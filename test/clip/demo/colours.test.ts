import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { colours } from '../../../src/clip/demo/concepts.ts';
import { type DemoModel, openDemoModel } from './demo-model.ts';
import { chequered, divided, flat, graded, hsv, noisy, painted, type Rgb, textured } from './pictures.ts';

let model: DemoModel;
beforeAll(async () => {
  model = await openDemoModel();
});
afterAll(() => model[Symbol.asyncDispose]());

type Colour = (typeof colours)[number];
/** Hue in degrees, saturation and value 0 to 1; from, to. */
type Box = { readonly hue: Pair; readonly saturation: Pair; readonly value: Pair };
type Pair = readonly [from: number, to: number];

/** Colours whose name is not in doubt. */
const certain: Record<Colour, readonly Box[]> = {
  red: [
    { hue: [-8, 8], saturation: [0.8, 1], value: [0.7, 1] },
    { hue: [-8, 8], saturation: [0.92, 1], value: [0.3, 0.7] },
  ],
  orange: [{ hue: [20, 38], saturation: [0.8, 1], value: [0.85, 1] }],
  yellow: [{ hue: [48, 63], saturation: [0.6, 1], value: [0.8, 1] }],
  green: [{ hue: [85, 150], saturation: [0.35, 1], value: [0.25, 1] }],
  cyan: [{ hue: [170, 184], saturation: [0.5, 1], value: [0.4, 1] }],
  blue: [{ hue: [200, 248], saturation: [0.35, 1], value: [0.3, 1] }],
  purple: [{ hue: [264, 298], saturation: [0.4, 1], value: [0.3, 0.95] }],
  pink: [
    { hue: [325, 358], saturation: [0.2, 0.42], value: [0.88, 1] },
    { hue: [320, 335], saturation: [0.5, 0.9], value: [0.85, 1] },
  ],
  brown: [{ hue: [18, 36], saturation: [0.5, 0.9], value: [0.25, 0.55] }],
  beige: [{ hue: [28, 42], saturation: [0.18, 0.28], value: [0.82, 0.96] }],
  black: [{ hue: [0, 360], saturation: [0, 0.5], value: [0, 0.1] }],
  grey: [{ hue: [0, 360], saturation: [0, 0.06], value: [0.3, 0.78] }],
  white: [{ hue: [0, 360], saturation: [0, 0.03], value: [0.95, 1] }],
};

/** One shade of each colour that films and tests are likely to use. */
const scenes: Record<Colour, Rgb> = {
  red: [200, 30, 30],
  orange: [240, 140, 20],
  yellow: [250, 220, 40],
  green: [40, 150, 60],
  cyan: [40, 200, 200],
  blue: [30, 80, 200],
  purple: [120, 40, 160],
  pink: [250, 150, 180],
  brown: [110, 65, 30],
  beige: [225, 200, 165],
  black: [10, 10, 12],
  grey: [125, 125, 128],
  white: [248, 248, 246],
};

const between = ([from, to]: Pair) => fc.double({ min: from, max: to, noNaN: true });
const shade = (box: Box) =>
  fc.tuple(between(box.hue), between(box.saturation), between(box.value)).map((parts) => hsv(...parts));

describe('flat pictures', () => {
  for (const colour of colours) {
    test(`${colour} is called ${colour} in all of its certain shades`, async () => {
      const shades = fc.oneof(...certain[colour].map(shade));
      await fc.assert(
        fc.asyncProperty(shades, async (rgb) => {
          const [best] = await model.rank(flat(rgb), colours);
          expect(best?.label, rgb.join()).toBe(colour);
          // Worst seen: 0.95, a beige near yellow.
          expect(best?.score, rgb.join()).toBeGreaterThan(0.9);
        }),
        { numRuns: 30 },
      );
    });
  }

  test('are named as CSS names them', async () => {
    const named: [Colour, Rgb][] = [
      ['red', [255, 0, 0]],
      ['red', [220, 20, 60]], // crimson
      ['red', [128, 0, 0]], // maroon
      ['orange', [255, 165, 0]],
      ['yellow', [255, 255, 0]],
      ['yellow', [255, 215, 0]], // gold
      ['green', [0, 128, 0]],
      ['green', [0, 255, 0]], // lime
      ['green', [34, 139, 34]], // forestgreen
      ['cyan', [0, 255, 255]],
      ['cyan', [64, 224, 208]], // turquoise
      ['cyan', [0, 128, 128]], // teal
      ['blue', [0, 0, 255]],
      ['blue', [0, 0, 128]], // navy
      ['blue', [135, 206, 235]], // skyblue
      ['purple', [128, 0, 128]],
      ['purple', [238, 130, 238]], // violet
      ['purple', [75, 0, 130]], // indigo
      ['pink', [255, 192, 203]],
      ['pink', [255, 105, 180]], // hotpink
      ['brown', [165, 42, 42]],
      ['brown', [139, 69, 19]], // saddlebrown
      ['beige', [245, 245, 220]],
      ['beige', [210, 180, 140]], // tan
      ['black', [0, 0, 0]],
      ['grey', [128, 128, 128]],
      ['grey', [192, 192, 192]], // silver
      ['white', [255, 255, 255]],
    ];
    for (const [colour, rgb] of named) {
      expect((await model.rank(flat(rgb), colours))[0]?.label, rgb.join()).toBe(colour);
    }
  });

  test('are far more like their own colour than like any other', async () => {
    for (const [colour, rgb] of Object.entries(scenes)) {
      const [best, second] = await model.rank(flat(rgb), colours);
      expect(best?.label).toBe(colour);
      // Worst seen: 0.91 (beige) and 0.71.
      expect(best?.similarity).toBeGreaterThan(0.9);
      expect(second?.similarity).toBeLessThan(0.8);
    }
  });

  test('fall to the nearest kin where their own colour is not offered', async () => {
    const best = async (rgb: Rgb, labels: readonly string[]) =>
      (await model.rank(flat(rgb), labels))[0]?.label;
    expect(await best(scenes.orange, ['red', 'green', 'blue'])).toBe('red');
    expect(await best(scenes.pink, ['yellow', 'green', 'red'])).toBe('red');
    expect(await best(scenes.cyan, ['red', 'blue', 'yellow'])).toBe('blue');
    expect(await best([40, 40, 40], ['black', 'white', 'red'])).toBe('black');
    expect(await best([210, 210, 210], ['black', 'white', 'red'])).toBe('white');
  });
});

describe('pictures of several colours', () => {
  test('rank colours by their share', async () => {
    const [first, second] = await model.rank(divided(scenes.green, scenes.red, 0.7), colours);
    expect([first?.label, second?.label]).toEqual(['green', 'red']);
    // 0.94 and 0.06: the second is not forgotten.
    expect(first?.score).toBeGreaterThan(0.8);
    expect(second?.score).toBeGreaterThan(0.02);
  });

  test('show their object, not the background', async () => {
    for (const [background, object] of [
      [scenes.white, scenes.yellow],
      [scenes.grey, scenes.red],
      [scenes.black, scenes.green],
    ] as const) {
      const picture = painted((x, y) => (Math.hypot(x - 112, y - 112) < 75 ? object : background));
      const expected = colours.find((colour) => scenes[colour] === object);
      expect((await model.rank(picture, colours))[0]?.label).toBe(expected!);
    }
  });

  test('show both colours of a chequered pattern, whatever its size, and not their mixture', async () => {
    for (const size of [4, 8, 12, 16, 20, 28, 32, 45, 56]) {
      const [first, second] = await model.rank(chequered(scenes.red, scenes.blue, size), colours);
      expect(new Set([first?.label, second?.label]), `squares of ${size}`).toEqual(new Set(['red', 'blue']));
    }
  });
});

describe('pictures as cameras and codecs make them', () => {
  const scene = fc.constantFrom(...colours);
  const seed = fc.integer({ min: 1, max: 10_000 });

  test('keep their colour under noise', async () => {
    await fc.assert(
      fc.asyncProperty(scene, seed, async (colour, seed) => {
        const picture = noisy(flat(scenes[colour]), 48, seed);
        expect((await model.rank(picture, colours))[0]?.label).toBe(colour);
      }),
      { numRuns: 40 },
    );
  });

  test('keep their colour under a texture of light and shade', async () => {
    await fc.assert(
      fc.asyncProperty(scene, seed, async (colour, seed) => {
        const picture = textured(scenes[colour], 0.4, seed);
        expect((await model.rank(picture, colours))[0]?.label).toBe(colour);
      }),
      { numRuns: 40 },
    );
  });

  test('keep their colour in a gradient from darker to lighter', async () => {
    for (const colour of ['red', 'green', 'blue', 'purple', 'cyan'] as const) {
      const [r, g, b] = scenes[colour];
      const picture = graded([r * 0.6, g * 0.6, b * 0.6], [r * 1.2, g * 1.2, b * 1.2]);
      expect((await model.rank(picture, colours))[0]?.label).toBe(colour);
    }
  });

  test('give nearly the same embedding before and after noise', async () => {
    for (const colour of colours) {
      const clean = await model.encodeImage(flat(scenes[colour]));
      const after = await model.encodeImage(noisy(flat(scenes[colour]), 12, 1));
      const cosine = clean.reduce((sum, value, i) => sum + value * after[i]!, 0);
      // Worst seen: 0.99997.
      expect(cosine, colour).toBeGreaterThan(0.999);
    }
  });
});
