import { describe, expect, test } from 'bun:test';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { resizeAndCrop } from '../../src/clip/preprocessing.ts';
import { createPictureLoader } from '../../src/media/picture/picture.ts';
import { createPictureProcesses } from '../../src/media/picture/picture-process.ts';

const folder = join(import.meta.dir, '../golden/images');
const resolution = 224;

/** Mean absolute differences from the reference's pixels, of 255; the worst that was measured beside each. */
const tolerances = {
  /** Decoded whole, then Pillow's own filter: 0.0009. */
  whole: 0.02,
  /** JPEGs that are shrunk while they are decoded: 0.3521. */
  shrunk: 0.8,
  /** Resized with their opacity, as Pillow does: 0.0007. */
  alpha: 0.02,
} as const;

const shrunk = new Set(['scene-1920x1080.jpg', 'scene-4032x3024.jpg']);
const alpha = new Set(['rgba.png', 'grey-alpha.png']);
/** The reference resizes the numbers of palette entries here, not colours. */
const quirks = new Set(['palette.png']);

const load = createPictureLoader({
  geometry: (width, height) => resizeAndCrop(width, height, resolution),
  limits: { imageBytes: 64 * 1024 ** 2, imagePixels: 100_000_000 },
  isolated: createPictureProcesses({ processes: 1, memoryBytes: 800 * 1024 ** 2 }),
});

describe('pixels before normalisation', () => {
  const names = readdirSync(folder)
    .filter((name) => /\.(?:jpg|png)$/.test(name) && !quirks.has(name))
    .sort();

  test('there are pictures to compare', () => {
    expect(names.length).toBeGreaterThanOrEqual(28);
  });

  for (const name of names) {
    const kind = shrunk.has(name) ? 'shrunk' : alpha.has(name) ? 'alpha' : 'whole';
    test(`${name}: ${kind}, within ${tolerances[kind]}`, async () => {
      const pixels = new Uint8Array(resolution * resolution * 3);
      await load(await Bun.file(join(folder, name)).bytes(), pixels);
      const reference = await Bun.file(join(folder, `${name}.rgb`)).bytes();
      expect(reference.length).toBe(pixels.length);
      const sum = pixels.reduce((total, value, at) => total + Math.abs(value - reference[at]!), 0);
      expect(sum / pixels.length).toBeLessThanOrEqual(tolerances[kind]);
    });
  }
});
