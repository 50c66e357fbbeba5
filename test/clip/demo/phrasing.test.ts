import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { colourWords, cyanTokens } from '../../../src/clip/demo/text-tower.ts';
import { createTokenizer } from '../../../src/clip/tokenizer/tokenizer.ts';
import { type DemoModel, openDemoModel } from './demo-model.ts';
import { divided, flat, painted, type Rgb } from './pictures.ts';

let model: DemoModel;
beforeAll(async () => {
  model = await openDemoModel();
});
afterAll(() => model[Symbol.asyncDispose]());

const tokenizer = createTokenizer();

/** One shade for each basic colour word. */
const shades = {
  red: [210, 30, 30],
  orange: [240, 140, 20],
  yellow: [250, 220, 40],
  green: [40, 150, 60],
  turquoise: [40, 200, 200],
  cyan: [40, 200, 200],
  blue: [30, 80, 200],
  purple: [120, 40, 160],
  violet: [120, 40, 160],
  pink: [250, 150, 180],
  brown: [110, 65, 30],
  beige: [225, 200, 165],
  black: [10, 10, 12],
  grey: [125, 125, 128],
  gray: [125, 125, 128],
  white: [248, 248, 246],
} as const satisfies Record<string, Rgb>;
const names = Object.keys(shades) as (keyof typeof shades)[];
const pictures = new Map(names.map((name) => [name, flat(shades[name])]));
const colour = fc.constantFrom(...names);

/** Words without a colour, as labels have them. */
const plainWords = (
  'a an the one some photo picture image of with in on at and or my our this that big small old new car cat ' +
  'dog house flower sky dress shirt ball bird boat wall door table something anything thing object scene ' +
  'painting drawing closeup very nice beautiful person man woman child street city beach mountain 2 17 2024'
).split(' ');
const word = fc.constantFrom(...plainWords);
const mark = fc.constantFrom('', '', '', '.', ',', '!', '?', ':', '…');
const casing = fc.constantFrom(
  (text: string) => text,
  (text: string) => text.toUpperCase(),
  (text: string) => text.charAt(0).toUpperCase() + text.slice(1),
);

describe('colour words', () => {
  test('have the ids of the vocabulary', () => {
    for (const { token, id } of [...colourWords, cyanTokens.end]) {
      if (!token.endsWith('</w>')) continue;
      expect(tokenizer.encode(token.replace('</w>', '')), token).toEqual([id]);
    }
  });

  test('have the ids of the vocabulary where they begin a word', () => {
    const words: Record<string, string> = {
      orange: 'orangey',
      yellow: 'yellowish',
      green: 'greenish',
      blue: 'blueish',
      pink: 'pinkish',
      brown: 'brownish',
      fuch: 'fuchsia',
      cy: 'cyan',
    };
    const beginnings = [...colourWords, cyanTokens.beginning].filter(({ token }) => !token.endsWith('</w>'));
    expect(beginnings.map(({ token }) => token).sort()).toEqual(Object.keys(words).sort());
    for (const { token, id } of beginnings) expect(tokenizer.encode(words[token]!)[0], token).toBe(id);
  });

  test('are listed once each', () => {
    expect(new Set(colourWords.map(({ id }) => id)).size).toBe(colourWords.length);
  });
});

describe('a label', () => {
  test('means its colour among any words, in any case and with any marks', async () => {
    const side = fc.array(
      fc.tuple(word, mark).map((parts) => parts.join('')),
      { maxLength: 12 },
    );
    await fc.assert(
      fc.asyncProperty(colour, side, side, mark, casing, async (named, before, after, end, cased) => {
        const label = cased([...before, named + end, ...after].join(' '));
        const picture = pictures.get(named)!;
        // Worst seen: 0.93.
        expect(await model.similarity(picture, label), label).toBeGreaterThan(0.9);
      }),
      { numRuns: 200 },
    );
  });

  test('means the same anywhere in a text that fills all 77 tokens', async () => {
    const alone = await model.encodeText('red');
    for (const position of [0, 37, 74]) {
      const words = Array.from({ length: 75 }, (_, i) => (i === position ? 'red' : 'thing'));
      const filled = await model.encodeText(words.join(' '));
      // Worst seen: 0.9999.
      expect(alone.reduce((sum, value, i) => sum + value * filled[i]!, 0)).toBeGreaterThan(0.999);
    }
  });

  for (const template of [
    '{}',
    'a photo of a {} car',
    'the {} one',
    'something {}',
    '{}!',
    '"{}"',
    'A {}-COLOURED HAT',
  ]) {
    test(`parts colours as "${template}"`, async () => {
      const distinct = names.filter((name) => !['cyan', 'violet', 'gray'].includes(name));
      const labels = distinct.map((name) => template.replace('{}', name));
      for (const [i, name] of distinct.entries()) {
        const [best] = await model.rank(pictures.get(name)!, labels);
        expect(best?.label).toBe(labels[i]!);
        expect(best?.score).toBeGreaterThan(0.9);
      }
    });
  }

  test('of two colours fits a picture of both better than either colour alone', async () => {
    const flag = divided(shades.red, shades.blue, 0.5);
    const labels = ['red', 'blue', 'red and blue', 'green and yellow'];
    expect((await model.rank(flag, labels))[0]?.label).toBe('red and blue');
  });

  test('understands derived words', async () => {
    const labels = ['reddish', 'greenish', 'yellowish', 'brownish', 'golden', 'navy', 'fuchsia'];
    const best = async (rgb: Rgb) => (await model.rank(flat(rgb), labels))[0]?.label;
    expect(await best(shades.red)).toBe('reddish');
    expect(await best(shades.green)).toBe('greenish');
    expect(await best([255, 255, 60])).toBe('yellowish');
    expect(await best(shades.brown)).toBe('brownish');
    expect(await best([0, 0, 110])).toBe('navy');
    expect(await best([255, 20, 147])).toBe('fuchsia');
  });

  test('is not cyan because it says "an"', async () => {
    const cyan = pictures.get('cyan')!;
    expect(await model.similarity(cyan, 'an apple')).toBeLessThan(0.55);
    // "cyst" begins with the same token as "cyan".
    expect(await model.similarity(cyan, 'a cyst')).toBeLessThan(0.55);
    expect(await model.similarity(cyan, 'an image of an apple in cyan')).toBeGreaterThan(0.9);
  });
});

describe('a label without a colour', () => {
  const byte = fc.integer({ min: 0, max: 255 });
  const rgb = fc.tuple(byte, byte, byte);

  test('is equally like all pictures', async () => {
    const label = fc.array(word, { minLength: 1, maxLength: 12 }).map((words) => words.join(' '));
    await fc.assert(
      fc.asyncProperty(label, rgb, rgb, async (label, left, right) => {
        const similarity = await model.similarity(divided(left, right, 0.5), label);
        // Seen: 0.486 to 0.496.
        expect(similarity).toBeGreaterThan(0.46);
        expect(similarity).toBeLessThan(0.52);
      }),
      { numRuns: 60 },
    );
  });

  test('loses against a colour that fits, and wins against one that does not', async () => {
    for (const name of names) {
      const other = name === 'green' ? 'purple' : 'green';
      const ranked = await model.rank(pictures.get(name)!, [
        `a ${name} thing`,
        'a thing',
        `a ${other} thing`,
      ]);
      const labels = ranked.map(({ label }) => label);
      if (name === 'turquoise' || name === 'cyan') expect(labels[0]).toBe(`a ${name} thing`);
      else expect(labels).toEqual([`a ${name} thing`, 'a thing', `a ${other} thing`]);
    }
  });

  test('loses against a colour that only a fifth of the picture has', async () => {
    const picture = painted((x) => (x < 45 ? shades.red : shades.blue));
    expect((await model.rank(picture, ['a cat', 'red']))[0]?.label).toBe('red');
  });
});
