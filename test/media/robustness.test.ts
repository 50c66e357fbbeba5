import { expect, test } from 'bun:test';
import { crc32 } from 'node:zlib';
import { resizeAndCrop } from '../../src/clip/preprocessing.ts';
import { ServiceError } from '../../src/errors.ts';
import { createPictureLoader } from '../../src/media/picture/picture.ts';
import { isolated } from './load-picture.ts';
import { gridHeic, heic } from './sample-heics.ts';
import {
  animatedWebp,
  avif,
  bmp,
  cutOut,
  exifSegment,
  gif,
  jpeg,
  paletteBmp,
  placed,
  png,
  rgbPng,
  runLengthBmp,
  scene,
  tiff,
  webp,
  withSegments,
} from './sample-pictures.ts';
import { rawFile, rawKinds } from './sample-raws.ts';
import { type TiffVariant, tiffFile, tiffOf } from './sample-tiffs.ts';

const MUTATIONS = 1500;

const tiffSeed: TiffVariant = {
  ...{ width: 61, height: 47, photometric: 2, bits: 8, extraSamples: [2] },
  samples: cutOut,
};

function jpegTiff(strip: Uint8Array): Uint8Array {
  const size = [
    [256, 3, [61]],
    [257, 3, [47]],
    [258, 3, [8, 8, 8]],
    [277, 3, [3]],
  ] as const;
  return tiffFile([strip], (places) => [
    { tags: [...size, [259, 3, [7]], [262, 3, [6]], [273, 4, places], [279, 4, [strip.length]]] },
  ]);
}

async function rawSeeds() {
  const jpegs = [await jpeg(200, 170), await jpeg(180, 160), await jpeg(61, 47)] as const;
  return Object.fromEntries(rawKinds.map((kind) => [kind, rawFile(kind, { jpegs })]));
}

const seeds: Record<string, Uint8Array> = {
  jpeg: await jpeg(61, 47),
  'progressive jpeg': await jpeg(61, 47, true),
  'turned jpeg': withSegments(await jpeg(61, 47), exifSegment(6)),
  png: rgbPng(61, 47),
  'interlaced png': png(61, 47, { interlaced: true, samples: (x, y) => scene(x, y).slice(0, 3) }),
  'transparent png': png(61, 47, { colourType: 6, samples: cutOut }),
  webp: await webp(61, 47),
  'transparent webp': await webp(61, 47, cutOut),
  'animated webp': animatedWebp(61, 47, [await webp(61, 47), await webp(61, 47, cutOut)]),
  gif: gif(61, 47, { palette: [[1, 2, 3]], index: () => 0, transparent: 0, frames: 2 }),
  'placed gif': placed(
    gif(31, 27, { palette: [[1, 2, 3]], index: () => 0, transparent: 0 }),
    [61, 47],
    [20, 10],
  ),
  bmp: bmp(61, 47),
  'bmp with a palette': paletteBmp(61, 47),
  'bmp with runs': runLengthBmp(61, 47),
  tiff: Uint8Array.from(await tiff(61, 47)),
  'tiff of tiles': tiffOf({ ...tiffSeed, tile: [16, 16], compression: 'lzw', hasDifferences: true }),
  'tiff of planes': tiffOf({ ...tiffSeed, isPlanar: true, compression: 'packbits', isLittleEndian: false }),
  'big tiff': tiffOf({ ...tiffSeed, isBig: true, compression: 'deflate', tile: [32, 16] }),
  'tiff of a jpeg': jpegTiff(await jpeg(61, 47)),
  'tiff of a fax': await Bun.file(new URL('../fixtures/fax/group-3-2d.tif', import.meta.url)).bytes(),
  ...(await rawSeeds()),
  avif: Uint8Array.from(await avif(61, 47)),
  heic: heic(62, 48),
  'heic of tiles': gridHeic(62, 48, scene, { tile: 32 }),
};

/** Mulberry32: the same numbers in every run. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Flips bits, puts in extreme numbers, cuts off, leaves out, repeats. */
function mutate(picture: Uint8Array, random: () => number): Uint8Array {
  const below = (limit: number) => Math.floor(random() * limit);
  let bytes = Uint8Array.from(picture);
  for (let left = 1 + below(6); left > 0; left--) {
    // Half of them in the header, where most decisions are made.
    const at = below(random() < 0.5 ? Math.min(bytes.length, 200) : bytes.length);
    const length = below(40);
    switch (below(6)) {
      case 0:
        bytes[at]! ^= 1 << below(8);
        break;
      case 1:
        bytes.fill([0, 0x7f, 0x80, 0xff][below(4)]!, at, at + 1 + below(4));
        break;
      case 2:
        if (random() < 0.3) bytes = bytes.slice(0, at);
        break;
      case 3:
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + length)]);
        break;
      case 4:
        bytes = Uint8Array.from([...bytes.subarray(0, at + length), ...bytes.subarray(at)]);
        break;
      default:
        bytes.copyWithin(at, below(bytes.length), below(bytes.length));
    }
  }
  return bytes;
}

/** Makes the checksums right again, so that a PNG's decoder gets to see the damage. */
function repairChecksums(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const end = at + 8 + view.getUint32(at);
    if (end + 4 > bytes.length) return;
    view.setUint32(end, crc32(bytes.subarray(at + 4, end)));
    at = end + 4;
  }
}

test(`${MUTATIONS} damaged pictures end in pixels or in a sentence for a person`, async () => {
  const random = randomNumbers(1);
  const load = createPictureLoader({
    geometry: (width, height) => resizeAndCrop(width, height, 32),
    limits: { imageBytes: 1_000_000, imagePixels: 4_000_000 },
    isolated,
  });
  const target = new Uint8Array(32 * 32 * 3);
  const names = Object.keys(seeds);
  const outcomes = new Map<string, number>();
  for (let index = 0; index < MUTATIONS; index++) {
    const name = names[index % names.length]!;
    const bytes = mutate(seeds[name]!, random);
    if (name.endsWith('png') && random() < 0.7) repairChecksums(bytes);
    const background = [255, 255, 255] as const;
    const outcome = await load(bytes, target, random() < 0.3 ? { background } : {}).then(
      () => 'pixels',
      (fault: unknown) => {
        if (!(fault instanceof ServiceError)) throw new Error(`${name}, mutation ${index}`, { cause: fault });
        expect(fault.message).toMatch(
          /^(?:The (?:file|picture|(?:\w+|camera raw) picture)|Decoding the) [^\n]*\.$/,
        );
        return fault.code;
      },
    );
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  // Neither all refused at the door nor all let through.
  expect(outcomes.get('pixels')).toBeGreaterThan(MUTATIONS / 20);
  expect(outcomes.get('image_broken')).toBeGreaterThan(MUTATIONS / 3);
});
