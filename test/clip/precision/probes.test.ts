import { describe, expect, test } from 'bun:test';
import type { ClipArchitecture } from '../../../src/clip/architecture.ts';
import {
  calibrationFor,
  probePictureCount,
  probePictures,
  probesFor,
} from '../../../src/clip/precision/probes.ts';
import { tinyArchitecture } from '../graph/architectures.ts';

const architecture = {
  ...tinyArchitecture,
  vision: { ...tinyArchitecture.vision, imageResolution: 32 },
  text: { ...tinyArchitecture.text, contextLength: 77 },
};
const clipProbes = (size: ClipArchitecture) => probesFor({ family: 'clip', architecture: size });
const mean = (values: ArrayLike<number>) =>
  Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;
/** How far a value is from that of the next pixel, on average. */
const roughness = (pixels: Uint8Array) =>
  mean(Array.from(pixels.subarray(3), (value, index) => Math.abs(value - (pixels[index] ?? 0))));

describe('probe pictures', () => {
  const pictures = [...probePictures(32)];

  test('are many, of the size asked for, and all different', () => {
    expect(pictures.length).toBeGreaterThanOrEqual(64);
    expect(pictures).toHaveLength(probePictureCount);
    expect(new Set(pictures.map(({ name }) => name)).size).toBe(pictures.length);
    expect(new Set(pictures.map(({ pixels }) => Bun.hash(pixels))).size).toBe(pictures.length);
    for (const { pixels } of pictures) expect(pixels).toHaveLength(32 * 32 * 3);
  });

  test('are the same every time', () => {
    expect([...probePictures(32)]).toEqual(pictures);
  });

  test('are dark and bright, smooth and rough', () => {
    const means = pictures.map(({ pixels }) => mean(pixels));
    expect(Math.min(...means)).toBe(0);
    expect(Math.max(...means)).toBe(255);
    const roughnesses = pictures.map(({ pixels }) => roughness(pixels)).toSorted((one, other) => one - other);
    expect(roughnesses[5]).toBe(0);
    expect(roughnesses[pictures.length >> 1]).toBeGreaterThan(5);
    expect(roughnesses.at(-1)).toBeGreaterThan(60);
  });
});

test('probes say how many positions a picture takes', () => {
  const sizes = { imageResolution: 224, width: 64, layers: 1, heads: 1 };
  expect(clipProbes({ ...architecture, vision: { ...sizes, patchSize: 32 } }).positions).toBe(50);
  expect(clipProbes({ ...architecture, vision: { ...sizes, patchSize: 14 } }).positions).toBe(257);
});

describe('probe texts', () => {
  const { texts } = clipProbes(architecture);

  test('are many, of many lengths, and all different', () => {
    expect(texts).toHaveLength(1000);
    expect(new Set(texts.map(({ ids }) => ids.join())).size).toBe(texts.length);
    const lengths = texts.map(({ ids }) => ids.length);
    expect(Math.min(...lengths)).toBe(3);
    expect(Math.max(...lengths)).toBeGreaterThan(20);
  });

  test('are left out where they are too long for the model', () => {
    const few = clipProbes({ ...architecture, text: { ...architecture.text, contextLength: 5 } }).texts;
    expect(few.length).toBeLessThan(texts.length);
    expect(Math.max(...few.map(({ ids }) => ids.length))).toBe(5);
  });
});

describe('what calibrates', () => {
  const probes = clipProbes(architecture);
  const calibrating = calibrationFor({ family: 'clip', architecture });

  test('is of all kinds, and none of it is a probe', () => {
    const kinds = (pictures: typeof probes.pictures) =>
      new Set(pictures.map(({ name }) => name.replace(/ \d+$/, '')));
    expect(kinds(calibrating.pictures).size).toBe(kinds(probes.pictures).size - 2); // not black and white
    expect(calibrating.texts).toHaveLength(200);
    const hashes = ({ pictures, texts }: typeof probes) => [
      ...pictures.map(({ pixels }) => Bun.hash(pixels)),
      ...texts.map(({ ids }) => Bun.hash(ids)),
    ];
    const all = [...hashes(probes), ...hashes(calibrating)];
    expect(new Set(all).size).toBe(all.length);
  });

  test('has pictures of all kinds from the beginning, so that any part of it is typical', () => {
    const kinds = calibrating.pictures.map(({ name }) => name.split(' ')[0]);
    const count = new Set(kinds).size;
    expect(new Set(kinds.slice(0, count)).size).toBe(count);
  });
});
