import { describe, expect, test } from 'bun:test';
import type { ExifOrientation } from '../../../native/geometry.ts';
import { createBitmap, DecodeError, type Window } from '../../../native/image/builtin-decoder.ts';
import type { PictureFormat } from '../../../src/contract/formats.ts';
import type { PictureHeader } from '../../../src/media/picture/format/picture-header.ts';
import { decodeSquare, decodeWindow } from '../../../src/media/picture/picture.ts';
import {
  animatedWebp,
  avif,
  bmp,
  concat,
  cutOut,
  gif,
  paint,
  rgbPng,
  scene,
  tiff,
  webp,
} from '../sample-pictures.ts';

const [width, height] = [13, 9];

function header(format: PictureFormat, more: Partial<PictureHeader> = {}): PictureHeader {
  return {
    format,
    width,
    height,
    orientation: 1,
    alpha: false,
    rare: false,
    coefficientBytes: 0,
    ...more,
  };
}

const everything = { left: 0, top: 0, width, height };

/** The largest difference of two RGBA pictures. */
function difference(a: Uint8Array, b: Uint8Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((worst, value, at) => Math.max(worst, Math.abs(value - b[at]!)), 0);
}

/** Its pixels alone. */
async function windowOf(bytes: Uint8Array, header: PictureHeader, window: Window): Promise<Uint8Array> {
  return (await decodeWindow(bytes, { header }, window)).pixels;
}

describe('decodeWindow', () => {
  const expected = paint(width, height, scene);

  test.each([
    ['png', () => rgbPng(width, height), {}],
    ['bmp', () => bmp(width, height), {}],
    ['webp', () => webp(width, height), {}],
    ['tiff', () => tiff(width, height), {}],
  ] as const)('reads the pixels of a %s exactly', async (format, make, more) => {
    const pixels = await windowOf(await make(), header(format, more), everything);
    expect(difference(pixels, expected)).toBe(0);
  });

  test('reads an AVIF, whichever brand comes first', async () => {
    const still = await avif(width, height);
    const sequence = Uint8Array.from(still);
    sequence.set(concat('avis'), 8);
    const pixels = await windowOf(still, header('avif'), everything);
    // Its encoder is lossy: colours are close.
    const mean = pixels.reduce((sum, value, at) => sum + Math.abs(value - expected[at]!), 0) / pixels.length;
    expect(mean).toBeLessThan(20);
    expect(difference(await windowOf(sequence, header('avif'), everything), pixels)).toBe(0);
  });

  test('reads the first frame of an animated WebP', async () => {
    const black = await webp(width, height, () => [0, 0, 0, 255]);
    const animated = animatedWebp(width, height, [await webp(width, height), black]);
    const pixels = await windowOf(animated, header('webp', { rare: true }), everything);
    // The library blends the frame over its canvas and rounds.
    expect(difference(pixels, expected)).toBeLessThanOrEqual(1);
  });

  test('reads a BMP with a palette', async () => {
    const bytes = concat(
      'BM',
      [0, 0, 0, 0, 0, 0, 0, 0, 62, 0, 0, 0, 40, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0],
      new Uint8Array(16),
      [2, 0, 0, 0, 2, 0, 0, 0],
      // Palette in the order B, G, R; then one row of 1 bit a pixel, padded to 4 bytes.
      [0, 0, 200, 0, 90, 0, 0, 0],
      [0b0100_0000, 0, 0, 0],
    );
    const pixels = await windowOf(bytes, header('bmp', { width: 2, height: 1, rare: true }), {
      left: 0,
      top: 0,
      width: 2,
      height: 1,
    });
    expect([...pixels]).toEqual([200, 0, 0, 255, 0, 0, 90, 255]);
  });

  test('shows the palette’s colour where a GIF is transparent, as the reference does', async () => {
    const bytes = gif(4, 2, {
      palette: [
        [250, 240, 230],
        [10, 20, 30],
      ],
      index: (x) => x % 2,
      transparent: 0,
    });
    const pixels = await windowOf(bytes, header('gif', { width: 4, height: 2 }), {
      left: 0,
      top: 0,
      width: 2,
      height: 1,
    });
    expect([...pixels]).toEqual([250, 240, 230, 255, 10, 20, 30, 255]);
  });

  test('does not change the caller’s bytes, even of a Buffer, whose slices are not copies', async () => {
    const sequence = Buffer.from(await avif(width, height));
    sequence.write('avis', 8);
    const transparent = Buffer.from(
      gif(width, height, { palette: [[9, 9, 9]], index: () => 0, transparent: 0 }),
    );
    for (const [format, bytes] of [
      ['avif', sequence],
      ['gif', transparent],
    ] as const) {
      const before = Bun.hash(bytes);
      await windowOf(bytes, header(format), everything);
      expect(Bun.hash(bytes)).toBe(before);
    }
  });

  /** Where a pixel that is shown at x, y is stored: EXIF 2.3, tag 274. */
  const stored: Record<ExifOrientation, (x: number, y: number) => [number, number]> = {
    1: (x, y) => [x, y],
    2: (x, y) => [width - 1 - x, y],
    3: (x, y) => [width - 1 - x, height - 1 - y],
    4: (x, y) => [x, height - 1 - y],
    5: (x, y) => [y, x],
    6: (x, y) => [y, height - 1 - x],
    7: (x, y) => [width - 1 - y, height - 1 - x],
    8: (x, y) => [width - 1 - y, x],
  };
  for (const format of ['png', 'tiff'] as const) {
    test.each([1, 2, 3, 4, 5, 6, 7, 8] as const)(`turns a ${format} of orientation %d upright`, async (n) => {
      const [w, h] = n >= 5 ? [height, width] : [width, height];
      const bytes = format === 'png' ? rgbPng(width, height) : await tiff(width, height);
      const window = { left: 0, top: 0, width: w, height: h };
      const shown = await windowOf(bytes, header(format, { orientation: n }), window);
      expect(
        difference(
          shown,
          paint(w, h, (x, y) => scene(...stored[n](x, y))),
        ),
      ).toBe(0);
    });
  }

  test('a picture whose size differs from its header’s is broken', async () => {
    const wrong = { width: width - 1, height: height + 1 };
    for (const [format, bytes] of [
      ['png', rgbPng(width, height)],
      ['tiff', await tiff(width, height)],
    ] as const) {
      const decoding = windowOf(bytes, header(format, wrong), { left: 0, top: 0, width: 1, height: 1 });
      await expect(decoding).rejects.toThrow(DecodeError);
    }
  });

  test('a picture larger than its header declares is refused before memory is allocated for it', async () => {
    const decoding = windowOf(rgbPng(width, height), header('png', { width: 2, height: 2 }), {
      left: 0,
      top: 0,
      width: 2,
      height: 2,
    });
    await expect(decoding).rejects.toMatchObject({ name: 'DecodeError', reason: 'broken' });
  });

  test('a TIFF that is cut off is broken', async () => {
    const whole = await tiff(width, height);
    const cut = Uint8Array.from(whole).fill(0xff, 8, 100);
    const { buffer } = cut;
    // A strip that ends before its pixels do.
    const view = new DataView(buffer);
    for (let entry = view.getUint32(4, true) + 2; ; entry += 12) {
      if (view.getUint16(entry, true) !== 259) continue;
      view.setUint16(entry + 8, 8, true); // Deflate
      break;
    }
    await expect(windowOf(cut, header('tiff'), everything)).rejects.toMatchObject({ reason: 'broken' });
  });
});

describe('decodeSquare', () => {
  const geometry = { resizedWidth: width, resizedHeight: height, cropLeft: 4, cropTop: 0 };

  test('cuts the square out at its place', async () => {
    const target = new Uint8Array(height * height * 3);
    await decodeSquare(rgbPng(width, height), { header: header('png'), place: geometry }, target);
    for (const [x, y] of [
      [0, 0],
      [8, 8],
      [3, 5],
    ] as const) {
      const at = (y * height + x) * 3;
      expect([...target.subarray(at, at + 3)]).toEqual([...scene(x + 4, y)].slice(0, 3));
    }
  });

  test('a square may be written into shared memory, between others', async () => {
    const shared = new Uint8Array(new SharedArrayBuffer(height * height * 3 + 20)).fill(7);
    const target = shared.subarray(10, shared.length - 10);
    await decodeSquare(rgbPng(width, height), { header: header('png'), place: geometry }, target);
    expect([...target.subarray(0, 3)]).toEqual([...scene(4, 0)].slice(0, 3));
    expect([...shared.subarray(0, 10), ...shared.subarray(shared.length - 10)]).toEqual(Array(20).fill(7));
  });

  test('makes colours under full transparency black', async () => {
    const target = new Uint8Array(height * height * 3);
    const left = { ...geometry, cropLeft: 0 };
    await decodeSquare(
      bmp(width, height, cutOut),
      { header: header('bmp', { alpha: true }), place: left },
      target,
    );
    // Columns 0 to 8 are transparent, and hide white.
    expect(target.every((value) => value === 0)).toBe(true);
  });

  test('keeps hidden colours out of visible edges', async () => {
    // Green on a transparent ground of magenta: unweighted, the magenta would shine through at the edge.
    const picture = bmp(64, 64, (x) => (x < 29 ? [255, 0, 255, 0] : [0, 200, 0, 255]));
    const target = new Uint8Array(16 * 16 * 3);
    const quarter = { resizedWidth: 16, resizedHeight: 16, cropLeft: 0, cropTop: 0 };
    await decodeSquare(
      picture,
      { header: header('bmp', { width: 64, height: 64, alpha: true }), place: quarter },
      target,
    );
    for (let at = 0; at < target.length; at += 3) {
      expect(target[at]).toBe(0);
      expect(target[at + 2]).toBe(0);
    }
  });

  test('ignores the opacity where the header says that the reference drops it first', async () => {
    const target = new Uint8Array(height * height * 3);
    const left = { ...geometry, cropLeft: 0 };
    await decodeSquare(bmp(width, height, cutOut), { header: header('bmp'), place: left }, target);
    expect([...target.subarray(0, 3)]).toEqual([255, 255, 255]);
  });

  test('an aborted signal stops between the steps with its reason', async () => {
    const reason = new Error('the client left');
    const controller = new AbortController();
    const target = new Uint8Array(height * height * 3);
    const decoding = decodeSquare(
      await tiff(width, height),
      { header: header('tiff'), place: geometry },
      target,
      controller.signal,
    );
    controller.abort(reason);
    await expect(decoding).rejects.toBe(reason);
  });

  test('a BMP made of raw pixels shows its top row first', async () => {
    const { bytes, pixels } = createBitmap(1, 2);
    pixels.set([1, 2, 3, 255, 4, 5, 6, 255]);
    const shown = await windowOf(bytes, header('bmp', { width: 1, height: 2 }), {
      left: 0,
      top: 0,
      width: 1,
      height: 2,
    });
    expect([...shown]).toEqual([1, 2, 3, 255, 4, 5, 6, 255]);
  });
});
