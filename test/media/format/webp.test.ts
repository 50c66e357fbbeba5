import { describe, expect, test } from 'bun:test';
import { readWebpHeader } from '../../../src/media/picture/format/webp.ts';
import {
  animatedWebp,
  bmp,
  concat,
  cutOut,
  exif,
  riff,
  riffChunk,
  webp,
  webpChunks,
  webpExtension,
} from '../sample-pictures.ts';

const lossless = await webp(61, 47);
const lossy = await new Bun.Image(bmp(61, 47)).webp({ quality: 60 }).bytes();

describe('readWebpHeader', () => {
  test.each([
    ['lossless', lossless],
    ['lossy', lossy],
  ])('reads a %s one', (_, bytes) => {
    expect(readWebpHeader(bytes)).toEqual({
      format: 'webp',
      width: 61,
      height: 47,
      orientation: 1,
      alpha: false,
      rare: false,
      coefficientBytes: 0,
    });
  });

  test('tells of an opacity, lossless or lossy', async () => {
    expect(readWebpHeader(await webp(61, 47, cutOut)).alpha).toBe(true);
    const bytes = await new Bun.Image(bmp(61, 47, cutOut)).webp({ quality: 60 }).bytes();
    expect(readWebpHeader(bytes)).toMatchObject({ width: 61, height: 47, alpha: true });
  });

  test('an animated one is of a rare kind', () => {
    expect(readWebpHeader(animatedWebp(61, 47, [lossless, lossy]))).toMatchObject({
      width: 61,
      height: 47,
      rare: true,
    });
  });

  test('reads the orientation, with JPEG’s prefix or without', () => {
    for (const data of [exif(6), concat('Exif\0\0', exif(6))]) {
      const bytes = riff(webpExtension(61, 47, 0x08), webpChunks(lossless), riffChunk('EXIF', data));
      expect(readWebpHeader(bytes)).toMatchObject({ width: 61, height: 47, orientation: 6 });
    }
  });

  test('is truncated wherever it ends before its declared end', () => {
    for (let length = 12; length < lossless.length; length++) {
      expect(() => readWebpHeader(lossless.subarray(0, length))).toThrow(
        'The WebP picture is truncated: it has',
      );
    }
  });

  test('what follows the end is not looked at', () => {
    expect(readWebpHeader(concat(lossless, 'appended')).width).toBe(61);
  });

  test.each([
    ['has no pixel data', riff(riffChunk('JUNK', [1, 2, 3]))],
    ['declares 0 × 0 pixels', riff(riffChunk('VP8 ', new Uint8Array(20)))],
  ])('%s', (fault, bytes) => {
    expect(() => readWebpHeader(bytes)).toThrow(`The WebP picture ${fault}.`);
  });
});
