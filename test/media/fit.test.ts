import { describe, expect, test } from 'bun:test';
import { readWindow, StoredPng } from '../../native/image/builtin-decoder.ts';
import { placePicture } from '../../src/clip/preprocessing.ts';
import type { Fit } from '../../src/contract/options.ts';
import { createPictureLoader, type LoadedPicture } from '../../src/media/picture/picture.ts';
import { copyTile } from '../../src/media/tiles.ts';
import { withOrientation } from '../fixtures/colour-pictures.ts';
import { isolated, meanDifference } from './load-picture.ts';
import { heic } from './sample-heics.ts';
import { bmp, type Rgba, tiff } from './sample-pictures.ts';
import { rawFile } from './sample-raws.ts';

const side = 32;
const load = createPictureLoader({
  geometry: (width, height, fit) => placePicture(width, height, side, fit),
  limits: { imageBytes: 64 * 1024 ** 2, imagePixels: 100_000_000 },
  isolated,
});

/** Mean absolute differences from the reference's pixels, of 255; the worst that was measured beside each. */
const tolerances = {
  /** Decoded whole: 0.023. */
  whole: 0.05,
  /** JPEGs that are shrunk while they are decoded: 0.53. */
  shrunk: 0.8,
  /** HEVC's colours: 0.47. */
  foreign: 1,
} as const;

/** [height, width, 3], 0 to 255. */
interface Picture {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
}

/** Pillow's antialiased bicubic filter along one axis, in double precision, written from its definition. */
function resizeAxis(length: number, resized: number, read: (at: number) => number): number[] {
  const scale = length / resized;
  const stretch = Math.max(1, scale);
  const cubic = (x: number) =>
    x < 1 ? 1.5 * x ** 3 - 2.5 * x ** 2 + 1 : x < 2 ? -0.5 * x ** 3 + 2.5 * x ** 2 - 4 * x + 2 : 0;
  return Array.from({ length: resized }, (_, index) => {
    const centre = (index + 0.5) * scale;
    let [sum, total] = [0, 0];
    for (
      let at = Math.max(0, Math.floor(centre - 2 * stretch));
      at < Math.min(length, centre + 2 * stretch);
      at++
    ) {
      const weight = cubic(Math.abs(at + 0.5 - centre) / stretch);
      sum += weight * read(at);
      total += weight;
    }
    return Math.min(255, Math.max(0, Math.round(sum / total)));
  });
}

function resize({ width, height, pixels }: Picture, to: { width: number; height: number }): Picture {
  const narrowed = new Uint8Array(height * to.width * 3);
  const resized = new Uint8Array(to.height * to.width * 3);
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < height; y++) {
      const row = resizeAxis(width, to.width, (x) => pixels[(y * width + x) * 3 + channel]!);
      for (const [x, value] of row.entries()) narrowed[(y * to.width + x) * 3 + channel] = value;
    }
    for (let x = 0; x < to.width; x++) {
      const column = resizeAxis(height, to.height, (y) => narrowed[(y * to.width + x) * 3 + channel]!);
      for (const [y, value] of column.entries()) resized[(y * to.width + x) * 3 + channel] = value;
    }
  }
  return { ...to, pixels: resized };
}

function cut({ width, pixels }: Picture, left: number, top: number): Uint8Array {
  const square = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    const from = ((top + y) * width + left) * 3;
    square.set(pixels.subarray(from, from + side * 3), y * side * 3);
  }
  return square;
}

/** The squares of a picture, from the definition of the fits. */
function reference(picture: Picture, fit: Fit): Uint8Array[] {
  if (fit === 'whole') return [resize(picture, { width: side, height: side }).pixels];
  const { width, height } = picture;
  const [long, short] = [Math.max(width, height), Math.min(width, height)];
  if (long / short <= 1.1) return [resize(picture, { width: side, height: side }).pixels];
  const longer = Math.floor(Math.min(8 * side, (side * long) / short));
  const isWide = width > height;
  const resized = resize(picture, { width: isWide ? longer : side, height: isWide ? side : longer });
  const count = Math.ceil(longer / side);
  return Array.from({ length: count }, (_, order) => {
    const start = count === 1 ? 0 : Math.round(((longer - side) * order) / (count - 1));
    return cut(resized, isWide ? start : 0, isWide ? 0 : start);
  });
}

async function squaresOf(
  bytes: Uint8Array,
  fit: Fit,
): Promise<{ squares: Uint8Array[]; loaded: LoadedPicture }> {
  const first = new Uint8Array(side * side * 3);
  const loaded = await load(bytes, first, { fit });
  const { tiled } = loaded;
  if (!tiled) return { squares: [first], loaded };
  const squares = Array.from({ length: tiled.tiles }, (_, order) => {
    const square = new Uint8Array(first.length);
    copyTile(tiled, order, square);
    return square;
  });
  expect(squares[0]).toEqual(first);
  return { squares, loaded };
}

/** All pixels as another program would show them. */
async function decoded(bytes: Uint8Array): Promise<Picture> {
  const png = new StoredPng(
    await new Bun.Image(bytes, { autoOrient: true }).png({ compressionLevel: 0 }).bytes(),
  );
  const { width, height } = png;
  const rgba = readWindow(png, { left: 0, top: 0, width, height });
  return { width, height, pixels: rgba.filter((_, at) => at % 4 !== 3) };
}

async function worstDifference(bytes: Uint8Array, fit: Fit, picture: Picture): Promise<number> {
  const expected = reference(picture, fit);
  const { squares } = await squaresOf(bytes, fit);
  expect(squares).toHaveLength(expected.length);
  return Math.max(...squares.map((square, order) => meanDifference(square, expected[order]!)));
}

/** Sharp edges and smooth parts, different at every place. */
const scene = (x: number, y: number): Rgba => [
  (x * 5 + ((y >> 3) % 2) * 60) % 256,
  (y * 7) % 256,
  ((x >> 4) * 40 + (y >> 4) * 25) % 256,
  255,
];
/** As photos are that are large enough to be shrunk while they are decoded: not sharp to the pixel. */
const soft = (x: number, y: number): Rgba => [
  128 + 100 * Math.sin(x / 23 + y / 61),
  128 + 100 * Math.sin(y / 19),
  128 + 100 * Math.cos(x / 31 - y / 37),
  255,
];
const smooth = (x: number, y: number): Rgba => [40 + x, 60 + y * 1.2, 230 - x * 0.8 - y * 0.5, 255];
const painted = (width: number, height: number, paint = scene): Picture => ({
  width,
  height,
  pixels: Uint8Array.from({ length: width * height * 3 }, (_, at) => {
    const pixel = Math.trunc(at / 3);
    return paint(pixel % width, Math.trunc(pixel / width))[at % 3]!;
  }),
});
const fits = ['whole', 'tiles'] as const;

describe.each(fits)('fit=%s', (fit) => {
  test.each([
    [150, 100],
    [100, 150],
    [160, 90],
    [64, 64],
    [70, 64],
    [71, 64],
    [20, 30],
    [400, 60],
    [60, 410],
    [7, 300],
    [300, 7],
    [1, 1],
    [1, 50],
  ])('of %d × %d pixels is the reference’s resize of them', async (width, height) => {
    const difference = await worstDifference(bmp(width, height, scene), fit, painted(width, height));
    expect(difference).toBeLessThanOrEqual(tolerances.whole);
  });

  test.each([1, 2, 3, 4, 5, 6, 7, 8])('of a JPEG with the EXIF orientation %d', async (orientation) => {
    const jpeg = await new Bun.Image(bmp(150, 100, scene)).jpeg({ quality: 90 }).bytes();
    const turned = withOrientation(jpeg, orientation);
    const picture = await decoded(turned);
    expect(picture.width).toBe(orientation < 5 ? 150 : 100);
    expect(await worstDifference(turned, fit, picture)).toBeLessThanOrEqual(tolerances.whole);
  });

  // Their last column and row are cut by the picture's edge when they are shrunk.
  test.each([1, 3, 6, 7])('of a large JPEG with the EXIF orientation %d', async (orientation) => {
    const jpeg = await new Bun.Image(bmp(1003, 605, soft)).jpeg({ quality: 90 }).bytes();
    const turned = withOrientation(jpeg, orientation);
    expect(await worstDifference(turned, fit, await decoded(turned))).toBeLessThanOrEqual(tolerances.shrunk);
  });

  test('of a TIFF, in another process', async () => {
    const difference = await worstDifference(await tiff(150, 100, scene), fit, painted(150, 100));
    expect(difference).toBeLessThanOrEqual(tolerances.whole);
  });

  test('of a HEIC, row by row', async () => {
    const difference = await worstDifference(heic(128, 72, smooth), fit, painted(128, 72, smooth));
    expect(difference).toBeLessThanOrEqual(tolerances.foreign);
  });

  test('of a raw picture’s preview', async () => {
    const jpeg = await new Bun.Image(bmp(300, 200, soft)).jpeg({ quality: 90 }).bytes();
    const raw = rawFile('NEF', { jpegs: [jpeg, jpeg, jpeg] });
    expect(await worstDifference(raw, fit, await decoded(jpeg))).toBeLessThanOrEqual(tolerances.shrunk);
  });

  test('of a transparent picture on a colour', async () => {
    const clear = (x: number, y: number): Rgba =>
      [...scene(x, y).slice(0, 3), x < 75 ? 0 : 255] as unknown as Rgba;
    const target = new Uint8Array(side * side * 3);
    const { tiled } = await load(bmp(150, 100, clear), target, { fit, background: [255, 255, 255] });
    expect([...target.subarray(0, 3)]).toEqual([255, 255, 255]);
    expect(tiled?.tiles).toBe(fit === 'tiles' ? 2 : undefined);
  });

  // Widened first, it would have 32,000,000 pixels in between.
  test.each([
    ['narrow', 1, 1_000_000],
    ['wide', 1_000_000, 1],
    ['narrow', 5, 100_000],
  ])('of a very %s picture of %d × %d pixels is bounded', async (_, width, height) => {
    const strip = bmp(width, height, (x, y) =>
      Math.max(x, y) < 500_000 ? [200, 20, 30, 255] : [30, 60, 200, 255],
    );
    const { squares, loaded } = await squaresOf(strip, fit);
    expect(squares).toHaveLength(fit === 'tiles' ? 8 : 1);
    expect(loaded.tiled?.pixels.length).toBe(fit === 'tiles' ? 8 * side * side * 3 : undefined);
    expect([...squares[0]!.subarray(0, 3)]).toEqual([200, 20, 30]);
  });
});

test('by default, the middle square is looked at', async () => {
  const picture = bmp(150, 100, scene);
  const [crop, byDefault] = [new Uint8Array(side * side * 3), new Uint8Array(side * side * 3)];
  expect(await load(picture, crop, { fit: 'crop' })).toEqual({ warning: undefined });
  await load(picture, byDefault);
  expect(byDefault).toEqual(crop);
});
