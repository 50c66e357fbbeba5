import { describe, expect, test } from 'bun:test';
import { deflateSync } from 'node:zlib';
import { createPictureLoader } from '../../src/media/picture/picture.ts';
import {
  geometry,
  gradient,
  height,
  isolated,
  limits,
  load,
  meanDifference,
  reference,
  side,
  width,
} from './load-picture.ts';
import {
  animatedWebp,
  avif,
  bmp,
  chunk,
  concat,
  cutOut,
  exifSegment,
  gif,
  greyTiff,
  jpeg,
  paint,
  png,
  type Rgba,
  rgbPng,
  scene,
  tiff,
  uint32be,
  webp,
  withSegments,
} from './sample-pictures.ts';

describe('every accepted format gives the same picture', () => {
  const smooth = bmp(width, height, gradient);
  const rgb = (x: number, y: number) => gradient(x, y).slice(0, 3);
  const pictures: Record<string, () => Promise<Uint8Array> | Uint8Array> = {
    'a JPEG': () => new Bun.Image(smooth).jpeg({ quality: 98 }).bytes(),
    'a progressive JPEG': () => new Bun.Image(smooth).jpeg({ quality: 98, progressive: true }).bytes(),
    'a PNG': () => rgbPng(width, height, gradient),
    'an interlaced PNG': () => png(width, height, { interlaced: true, samples: rgb }),
    'a PNG of 16 bits': () =>
      png(width, height, { bitDepth: 16, samples: (x, y) => rgb(x, y).map((value) => value * 257) }),
    'an opaque PNG with alpha': () => png(width, height, { colourType: 6, samples: gradient }),
    'a PNG with a transparent colour, which the reference ignores': () =>
      png(width, height, { before: [chunk('tRNS', [0, 60, 0, 70, 0, 205])], samples: rgb }),
    'an animated PNG’s still': () =>
      png(width, height, { before: [chunk('acTL', [...uint32be(1), ...uint32be(0)])], samples: rgb }),
    'a WebP': () => webp(width, height, gradient),
    'an animated WebP’s first frame': async () =>
      animatedWebp(width, height, [await webp(width, height, gradient), await webp(width, height, scene)]),
    'a TIFF': () => tiff(width, height, gradient),
    'an AVIF': () => avif(width, height, gradient),
  };
  for (const [name, make] of Object.entries(pictures)) {
    test(name, async () => {
      expect(meanDifference(await load(await make()), reference)).toBeLessThan(3);
    });
  }

  test('a GIF’s first frame', async () => {
    // Eight greys: what a palette can hold.
    const level = (x: number) => Math.trunc(x / 5);
    const bytes = gif(width, height, {
      palette: Array.from({ length: 8 }, (_, at) => [at * 30, at * 30, at * 30] as const),
      index: level,
      frames: 3,
    });
    const grey = (x: number): Rgba => [level(x) * 30, level(x) * 30, level(x) * 30, 255];
    expect(meanDifference(await load(bytes), await load(bmp(width, height, grey)))).toBe(0);
  });

  test.each([1, 2, 4, 8, 16] as const)('grey PNGs of %d bits', async (bitDepth) => {
    const maximum = 2 ** bitDepth - 1;
    const level = (x: number) => Math.round((x / (width - 1)) * maximum);
    const grey = (x: number): Rgba => {
      // Of 16 bits the upper 8 count.
      const value = bitDepth === 16 ? level(x) >> 8 : (level(x) * 255) / maximum;
      return [value, value, value, 255];
    };
    const bytes = png(width, height, { bitDepth, colourType: 0, samples: (x) => [level(x)] });
    expect(meanDifference(await load(bytes), await load(bmp(width, height, grey)))).toBe(0);
  });

  test('a PNG with a palette', async () => {
    const colours = [
      [200, 30, 30],
      [30, 200, 30],
      [30, 30, 200],
    ] as const;
    const bytes = png(width, height, {
      bitDepth: 2,
      colourType: 3,
      before: [chunk('PLTE', colours.flat())],
      samples: (x) => [x % 3],
    });
    const expected = bmp(width, height, (x) => [...colours[x % 3]!, 255]);
    expect(meanDifference(await load(bytes), await load(expected))).toBe(0);
  });

  test('a grey TIFF', async () => {
    const grey = (x: number, y: number): Rgba => [x * 4 + y, x * 4 + y, x * 4 + y, 255];
    const bytes = greyTiff(width, height, (x, y) => grey(x, y)[0]);
    expect(meanDifference(await load(bytes), await load(bmp(width, height, grey)))).toBe(0);
  });
});

describe('opacity', () => {
  test('a transparent background becomes black in every format, whatever colour it hides', async () => {
    const onBlack = (x: number, y: number): Rgba => {
      const [red, green, blue, alpha] = cutOut(x, y);
      return alpha === 0 ? [0, 0, 0, 255] : [red, green, blue, 255];
    };
    // 16 × 16 is not resized: the pixels are the file's.
    const expected = paint(side, side, onBlack).filter((_, at) => at % 4 !== 3);
    for (const bytes of [
      png(side, side, { colourType: 6, samples: cutOut }),
      bmp(side, side, cutOut),
      await tiffWithAlpha(),
    ]) {
      const square = await load(bytes);
      // Dividing by a small opacity enlarges the rounding of the product.
      const worst = square.reduce((most, value, at) => Math.max(most, Math.abs(value - expected[at]!)), 0);
      expect(worst).toBeLessThanOrEqual(4);
    }
  });

  test('also in a picture that is too large to be resized with its opacity', async () => {
    // 26 megapixels of hidden white.
    const [w, h] = [2600, 10_000];
    const row = concat(
      [0],
      new Uint8Array(w * 2).map((_, at) => (at % 2 ? 0 : 255)),
    );
    const data = deflateSync(Buffer.concat(Array.from({ length: h }, () => row)), { level: 1 });
    const bytes = concat(
      '\x89PNG\r\n\x1a\n',
      chunk('IHDR', [...uint32be(w), ...uint32be(h), 8, 4, 0, 0, 0]),
      chunk('IDAT', data),
      chunk('IEND'),
    );
    const square = await load(bytes, { limits: { ...limits, imagePixels: 100_000_000 } });
    expect(square.every((value) => value === 0)).toBe(true);
  });

  async function tiffWithAlpha(): Promise<Uint8Array> {
    const bytes = Uint8Array.from(await tiff(side, side, cutOut));
    // Its encoder says nothing of the fourth sample: name it in the place of a tag of no interest.
    const view = new DataView(bytes.buffer);
    const entries = view.getUint32(4, true);
    for (let entry = entries + 2; entry < entries + 2 + view.getUint16(entries, true) * 12; entry += 12) {
      if (view.getUint16(entry, true) !== 339) continue; // sample format
      view.setUint16(entry, 338, true);
      view.setUint32(entry + 4, 1, true);
      view.setUint32(entry + 8, 2, true);
    }
    return bytes;
  }
});

describe('orientation', () => {
  test('width and height are those of the picture as shown', async () => {
    const sizes: string[] = [];
    const noting = (w: number, h: number) => {
      sizes.push(`${w} × ${h}`);
      return geometry(w, h);
    };
    const picture = await jpeg(40, 30);
    for (const orientation of [1, 3, 6, 8]) {
      await load(withSegments(picture, exifSegment(orientation)), { geometry: noting });
    }
    expect(sizes).toEqual(['40 × 30', '40 × 30', '30 × 40', '30 × 40']);
  });
});

describe('sizes', () => {
  test.each([
    [1, 1],
    [1, 2],
    [2, 1],
    [16, 16],
    [17, 16],
    [16, 300],
  ])('%d × %d', async (w, h) => {
    const red = rgbPng(w, h, () => [200, 10, 10, 255]);
    const square = await load(red);
    expect(square.every((value, at) => value === [200, 10, 10][at % 3])).toBe(true);
  });

  test('a strip that would need gigabytes if it were resized as a whole', async () => {
    // 1 × 16,000 at 16 pixels of width would be 256,000 long; at 224, 3,584,000.
    const at = (x: number, y: number): Rgba => (x + y < 8000 ? [250, 0, 0, 255] : [0, 0, 250, 255]);
    const large = { geometry: geometry224, limits, isolated };
    for (const [w, h] of [
      [1, 16_000],
      [16_000, 1],
    ] as const) {
      const target = new Uint8Array(224 * 224 * 3);
      await createPictureLoader(large)(rgbPng(w, h, at), target);
      // The middle of the strip: red meets blue in the middle of the square.
      const row = h === 1 ? target.subarray(0, 224 * 3) : target.filter((_, index) => index % 672 < 3);
      expect([...row.subarray(0, 3)]).toEqual([250, 0, 0]);
      expect([...row.subarray(-3)]).toEqual([0, 0, 250]);
      expect(row[111 * 3]!).toBeGreaterThan(row[111 * 3 + 2]!);
      expect(row[112 * 3]!).toBeLessThan(row[112 * 3 + 2]!);
    }
  });

  function geometry224(w: number, h: number) {
    const scale = 224 / Math.min(w, h);
    const [resizedWidth, resizedHeight] = [Math.trunc(w * scale), Math.trunc(h * scale)];
    return {
      resizedWidth,
      resizedHeight,
      cropLeft: (resizedWidth - 224) / 2,
      cropTop: (resizedHeight - 224) / 2,
    };
  }

  test('a transparent strip is as black as a transparent picture', async () => {
    const options = { geometry: geometry224, limits, isolated };
    const target = new Uint8Array(224 * 224 * 3).fill(9);
    const bytes = png(16_000, 1, { colourType: 6, samples: () => [255, 255, 255, 0] });
    await createPictureLoader(options)(bytes, target);
    expect(target.every((value) => value === 0)).toBe(true);
  });
});
