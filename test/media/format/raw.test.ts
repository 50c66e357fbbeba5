import { describe, expect, test } from 'bun:test';
import { listTitles, pictureFormats } from '../../../src/contract/formats.ts';
import { readPictureHeader } from '../../../src/media/sniff.ts';
import { fault, load, meanDifference } from '../load-picture.ts';
import { bmp, exifSegment, type Paint, withSegments } from '../sample-pictures.ts';
import {
  cfa,
  losslessLike,
  make,
  pointer,
  type RawKind,
  type RawParts,
  rawFile,
  rawKinds,
  sensor,
  strip,
  tinyPage,
} from '../sample-raws.ts';
import { tiffFile } from '../sample-tiffs.ts';

/** A picture that no turn leaves as it is. */
const corner: Paint = (x, y) => (x < 120 && y < 100 ? [255, 0, 0, 255] : [0, 80, 160, 255]);

const encode = (width: number, height: number) =>
  new Bun.Image(bmp(width, height, corner)).jpeg({ quality: 90 }).bytes();
const large = await encode(480, 320);
const medium = await encode(320, 214);
const thumbnail = await encode(160, 120);
const lossless = losslessLike(large);

const raw = (kind: RawKind, parts: Partial<RawParts> = {}) =>
  rawFile(kind, { jpegs: [large, medium, thumbnail], ...parts });

describe('a camera’s raw picture', () => {
  test.each(rawKinds)('%s: the largest preview is read', async (kind) => {
    const bytes = raw(kind);
    const header = readPictureHeader(bytes);
    expect(header).toMatchObject({ format: 'raw', width: 480, height: 320, orientation: 1 });
    const { start = 0, end = 0 } = header.preview ?? {};
    expect(readPictureHeader(bytes.slice(start, end))).toMatchObject({ format: 'jpeg', width: 480 });
    expect(meanDifference(await load(bytes), await load(large))).toBe(0);
  });

  test.each(rawKinds)('%s: the preview is turned as the raw picture is', async (kind) => {
    const bytes = raw(kind, { orientation: 6 });
    expect(readPictureHeader(bytes)).toMatchObject({ orientation: 6 });
    const expected = await load(withSegments(large, exifSegment(6)));
    expect(meanDifference(await load(bytes), expected)).toBe(0);
    expect(meanDifference(expected, await load(large))).toBeGreaterThan(5);
  });

  test('its orientation goes before that of the preview, which counts where it has none', () => {
    const jpegs = [withSegments(large, exifSegment(8)), medium, thumbnail] as const;
    expect(readPictureHeader(raw('NEF', { jpegs, orientation: 3 })).orientation).toBe(3);
    const without = tiffFile([jpegs[0]], (places) => [
      { tags: [[50_706, 1, [1, 4, 0, 0]], ...pointer(places[0]!, jpegs[0])] },
    ]);
    expect(readPictureHeader(without).orientation).toBe(8);
  });

  test('of both byte orders, and as BigTIFF', () => {
    for (const isLittleEndian of [true, false]) {
      for (const kind of ['DNG', 'NEF', 'ARW', 'PEF'] as const) {
        for (const isBig of [false, true]) {
          const bytes = raw(kind, { options: { isLittleEndian, isBig } });
          expect(readPictureHeader(bytes)).toMatchObject({ format: 'raw', width: 480 });
        }
      }
    }
  });

  test('a smaller preview is read if the largest is damaged', () => {
    const damaged = Uint8Array.from(large).fill(0, large.length - 200);
    const jpegs = [damaged, medium, thumbnail] as const;
    for (const kind of ['DNG', 'NEF'] as const) {
      expect(readPictureHeader(raw(kind, { jpegs }))).toMatchObject({ format: 'raw', width: 320 });
    }
    // It has no smaller one: as much as is there of the largest is used, if it suffices.
    expect(readPictureHeader(raw('ARW', { jpegs }))).toMatchObject({ width: 480, unproven: true });
  });

  const accepted = `; ${listTitles(pictureFormats, 'and')} pictures are accepted.`;

  test('without a preview it is refused, and never read as its thumbnail', async () => {
    const none = new Uint8Array(100);
    for (const kind of rawKinds) {
      expect(await fault(raw(kind, { jpegs: [none, none, none] }))).toMatchObject({
        code: 'image_unsupported',
        message: `The file is a camera’s raw picture (${kind}) without a JPEG preview${accepted}`,
      });
      expect(await fault(raw(kind, { jpegs: [thumbnail, thumbnail, thumbnail] }))).toMatchObject({
        code: 'image_unsupported',
        message: `The file is a camera’s raw picture (${kind}) with only a thumbnail of 160 × 120 pixels${accepted}`,
      });
    }
  });

  test('of an unknown maker it is refused without a name', async () => {
    const unknown = tiffFile([sensor], (places) => [
      { tags: [...tinyPage, ...strip(1, places[0]!, sensor)], subDirectories: [{ tags: [cfa] }] },
    ]);
    expect((await fault(unknown)).message).toStartWith(
      'The file is a camera’s raw picture without a JPEG preview;',
    );
  });

  test('lossless sensor values are not a preview', async () => {
    const bytes = tiffFile([lossless], (places) => [
      { tags: [[50_706, 1, [1, 4, 0, 0]], ...strip(7, places[0]!, lossless)] },
    ]);
    expect((await fault(bytes)).message).toContain('(DNG) without a JPEG preview');
  });

  test('is truncated where its preview lies beyond the end', async () => {
    // A CR3 has a second preview before it.
    for (const kind of rawKinds.filter((name) => name !== 'CR3')) {
      const bytes = raw(kind);
      const start = readPictureHeader(bytes).preview?.start ?? 0;
      // Directories may lie behind the preview: they are cut off, too.
      const { code, message } = await fault(bytes.subarray(0, start + 100));
      expect([code, message]).toEqual([
        expect.stringMatching(/^image_(?:broken|unsupported)$/),
        expect.stringMatching(/is truncated|\) without a JPEG preview|raw picture without a JPEG preview/),
      ]);
    }
    const { message } = await fault(raw('RAF').subarray(0, 2000));
    expect(message).toStartWith('The camera raw picture is truncated: it has 2000 bytes, but ');
  });

  test('directories in a ring, and previews at absurd places, end', () => {
    const ring = raw('NEF');
    const view = new DataView(ring.buffer);
    const first = view.getUint32(4);
    view.setUint32(first + 2 + view.getUint16(first) * 12, first);
    expect(readPictureHeader(ring)).toMatchObject({ width: 480 });
    const absurd = tiffFile([], () => [
      {
        tags: [
          [50_706, 1, [1]],
          [513, 4, [0xffff_ffff]],
          [514, 4, [0xffff_ffff]],
        ],
      },
    ]);
    expect(() => readPictureHeader(absurd)).toThrow('The camera raw picture is truncated:');
  });

  test('a TIFF of a camera that is not raw is a TIFF', () => {
    const bytes = tiffFile([sensor], (places) => [
      {
        tags: [
          make('NIKON CORPORATION'),
          ...tinyPage.filter(([tag]) => tag !== 254),
          ...strip(1, places[0]!, sensor),
        ],
      },
    ]);
    expect(readPictureHeader(bytes)).toMatchObject({ format: 'tiff', width: 10, height: 10 });
  });
});
