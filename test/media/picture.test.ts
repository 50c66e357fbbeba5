import { describe, expect, test } from 'bun:test';
import { deflateSync } from 'node:zlib';
import { resizeAndCrop } from '../../src/clip/preprocessing.ts';
import { createPictureLoader } from '../../src/media/picture/picture.ts';
import {
  fault,
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
  placed,
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

describe('a background', () => {
  const grounds = [
    [255, 255, 255],
    [10, 200, 90],
  ] as const;
  const on =
    (ground: readonly [number, number, number]) =>
    (x: number, y: number): Rgba => {
      const [red, green, blue, alpha] = cutOut(x, y);
      const blended = [red, green, blue].map((value, channel) =>
        Math.round((value * alpha + ground[channel]! * (255 - alpha)) / 255),
      );
      return [...(blended as [number, number, number]), 255];
    };

  test('is seen through transparent pictures of every format', async () => {
    const [w, h] = [50, 40];
    const opaque = rgbPng(w, h, scene);
    for (const background of grounds) {
      const expected = await load(rgbPng(w, h, on(background)));
      for (const bytes of [
        png(w, h, { colourType: 6, samples: cutOut }),
        bmp(w, h, cutOut),
        await webp(w, h, cutOut),
      ]) {
        expect(meanDifference(await load(bytes, {}, { background }), expected)).toBe(0);
        expect(meanDifference(await load(bytes), expected)).toBeGreaterThan(5);
      }
      expect(meanDifference(await load(opaque, {}, { background }), await load(opaque))).toBe(0);
      const another = await load(await avif(w, h, cutOut), {}, { background });
      expect(meanDifference(another, expected)).toBeLessThan(15);
    }
  });

  test('is seen through a transparent colour, and around a GIF’s frame', async () => {
    const background = grounds[1];
    const isHole = (x: number) => x % 20 < 10;
    const shown = (x: number): Rgba => (isHole(x) ? [...background, 255] : [40, 50, 60, 255]);
    const expected = await load(rgbPng(40, 40, shown));
    const coloured = png(40, 40, {
      before: [chunk('tRNS', [0, 9, 0, 9, 0, 9])],
      samples: (x) => (isHole(x) ? [9, 9, 9] : [40, 50, 60]),
    });
    const palette = [
      [9, 9, 9],
      [40, 50, 60],
    ] as const;
    const colours = gif(40, 40, { palette, index: (x) => (isHole(x) ? 0 : 1), transparent: 0 });
    for (const bytes of [coloured, colours]) {
      expect(meanDifference(await load(bytes, {}, { background }), expected)).toBe(0);
      expect(meanDifference(await load(bytes), expected)).toBeGreaterThan(20);
    }
    const frame = gif(20, 40, { palette, index: () => 1 });
    const half = rgbPng(40, 40, (x) => (x < 20 ? [...background, 255] : [40, 50, 60, 255]));
    const beside = await load(placed(frame, [40, 40], [20, 0]), {}, { background });
    expect(meanDifference(beside, await load(half))).toBe(0);
  });

  test('is seen in strips and in pictures that are resized with their opacity', async () => {
    const background = grounds[1];
    for (const [w, h] of [
      [3, 600],
      [600, 3],
    ] as const) {
      const at = (x: number, y: number) => on(background)(x + y, 0);
      const bytes = png(w, h, { colourType: 6, samples: (x, y) => cutOut(x + y, 0) });
      const square = new Uint8Array(224 * 224 * 3);
      const expected = new Uint8Array(224 * 224 * 3);
      const whole = (width: number, height: number) => resizeAndCrop(width, height, 224);
      const loadLarge = createPictureLoader({ geometry: whole, limits, isolated });
      await loadLarge(bytes, square, { background });
      await loadLarge(rgbPng(w, h, at), expected);
      expect(meanDifference(square, expected)).toBeLessThan(0.1);
    }
  });
});

describe('a GIF’s canvas', () => {
  const palette = [
    [250, 240, 230],
    [10, 20, 30],
  ] as const;

  test.each([
    ['the first colour', undefined, palette[0]],
    ['the transparent colour', 1, palette[1]],
  ] as const)('has %s beside the first frame', async (_, transparent, ground) => {
    const frame = gif(20, 10, {
      palette,
      index: (x) => x % 2,
      ...(transparent !== undefined && { transparent }),
    });
    const expected = rgbPng(60, 40, (x, y) =>
      x >= 30 && x < 50 && y >= 5 && y < 15 ? [...palette[x % 2]!, 255] : [...ground, 255],
    );
    expect(meanDifference(await load(placed(frame, [60, 40], [30, 5])), await load(expected))).toBe(0);
  });

  test('is as large as its first frame if that is cut by it', async () => {
    const frame = gif(40, 30, { palette, index: (x, y) => (x * y) % 2 });
    expect(meanDifference(await load(placed(frame, [9, 9], [0, 0])), await load(frame))).toBe(0);
  });
});

describe('a JPEG that is cut off', () => {
  /** [warning, square] */
  const read = async (bytes: Uint8Array) => {
    const square = new Uint8Array(side * side * 3);
    const { warning } = await createPictureLoader({ geometry, limits, isolated })(bytes, square);
    return { warning, square };
  };
  const [w, h] = [400, 480];
  /** Smooth, with noise that gives all rows about as many bytes. */
  const noisy = (x: number, y: number): Rgba => {
    const noise = 25 + ((x * 7919 + y * 104729) % 31);
    return [x / 2 + noise, y / 4 + noise, 200 - y / 4 + noise, 255];
  };
  const picture = (progressive = false, size: readonly [number, number] = [w, h]) =>
    new Bun.Image(bmp(...size, noisy)).jpeg({ quality: 85, progressive }).bytes();

  test('is whole if only the marker of its end is missing', async () => {
    const bytes = await picture();
    const whole = await read(bytes);
    for (const missing of [1, 2]) {
      expect(await read(bytes.subarray(0, -missing))).toEqual({ ...whole, warning: undefined });
    }
  });

  test.each([
    [1, w, h],
    [2, w, h],
    [4, w, h],
    // Shrunk, its edge cuts the last column and row.
    [2, w + 3, h + 5],
    [2, w, h + 5],
  ])(
    'is used with a warning if %d % of its bytes are missing, of %d × %d',
    async (percentage, width, height) => {
      const bytes = await picture(false, [width, height]);
      const whole = await read(bytes);
      const cut = await read(bytes.subarray(0, bytes.length * (1 - percentage / 100)));
      expect(cut.warning).toMatch(/^The JPEG picture is cut off: [2-5] % of its pixels are missing\.$/);
      // The decoder's grey would be 50 off in the last row.
      expect(meanDifference(cut.square, whole.square)).toBeLessThan(1);
      const worst = cut.square.map((value, index) => Math.abs(value - whole.square[index]!));
      expect(Math.max(...worst)).toBeLessThan(16);
    },
  );

  test('is truncated if more is missing', async () => {
    const bytes = await picture();
    expect(await fault(bytes.subarray(0, bytes.length * 0.8))).toMatchObject({
      code: 'image_broken',
      message: expect.stringMatching(
        /^The JPEG picture is truncated: 2[0-2] % of its pixels are missing, at most 5 % may be\.$/,
      ),
    });
  });

  test('has as much as if it ended before the zeros in which it ends', async () => {
    const bytes = await picture();
    const zeros = (length: number) =>
      concat(bytes.subarray(0, length), new Uint8Array(bytes.length - length));
    const length = Math.trunc(bytes.length * 0.97);
    expect(await read(zeros(length))).toEqual(await read(bytes.subarray(0, length)));
    expect((await fault(zeros(bytes.length * 0.8))).message).toMatch(/ 2[0-2] % of its pixels are missing/);
    expect((await read(concat(bytes.subarray(0, -2), new Uint8Array(999)))).warning).toBeUndefined();
  });

  test('is used if it is progressive and lacks its last bits only', async () => {
    const bytes = await picture(true);
    const whole = await read(bytes);
    const cut = await read(bytes.subarray(0, bytes.length * 0.95));
    expect(cut.warning).toBe(
      'The JPEG picture is cut off: its finest details are missing, at least in a part of it.',
    );
    expect(meanDifference(cut.square, whole.square)).toBeLessThan(1);
    // The scans that bring a further bit follow the fifth.
    const scans = [...bytes.keys()].filter((at) => bytes[at] === 0xff && bytes[at + 1] === 0xda);
    expect(await fault(bytes.subarray(0, scans[5]! + 99))).toMatchObject({ code: 'image_broken' });
  });

  test('is used if it ends between the last two scans of a progressive one, within a segment as well', async () => {
    const bytes = await new Bun.Image(bmp(64, 48, noisy)).jpeg({ quality: 85, progressive: true }).bytes();
    const last = bytes.lastIndexOf(0xda);
    const tables = Buffer.from(bytes.buffer, 0, last).lastIndexOf('\xff\xc4', 'latin1');
    const missing = 'The JPEG picture is cut off: its finest details are missing, at least in a part of it.';
    for (let length = tables; length < last + 12; length++) {
      expect((await read(bytes.subarray(0, length))).warning).toBe(missing);
    }
  });

  test('is turned as the whole one', async () => {
    const bytes = withSegments(await picture(), exifSegment(6));
    const whole = await read(bytes);
    const cut = await read(bytes.subarray(0, bytes.length * 0.98));
    expect(cut.warning).toBeDefined();
    expect(meanDifference(cut.square, whole.square)).toBeLessThan(1);
  });
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
