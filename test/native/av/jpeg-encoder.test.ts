import { describe, expect, test } from 'bun:test';
import { createDecoder } from '../../../native/av/decoder.ts';
import { openDemuxer } from '../../../native/av/demuxer.ts';
import { createJpegEncoder } from '../../../native/av/jpeg-encoder.ts';
import type { Colour } from '../../fixtures/colour-pictures.ts';
import { makePaintedVideo, type VideoForm } from '../../fixtures/videos.ts';
import { type ReadJpeg, readJpeg, worstDifference } from '../../fixtures/videos-jpeg.ts';
import type { Patch } from '../../fixtures/videos-paint.ts';

/** Saturated and dull, light and dark: what a wrong matrix or range shifts most. */
const colours: readonly Colour[] = [
  [220, 30, 30],
  [30, 200, 40],
  [30, 50, 220],
  [235, 220, 40],
  [250, 250, 250],
  [128, 128, 128],
  [20, 20, 20],
  [190, 120, 80],
];
const patches: readonly Patch[] = colours.map((colour, index) => {
  const [column, row] = [index % 4, Math.floor(index / 4)];
  return { left: column / 4, right: (column + 1) / 4, top: row / 2, bottom: (row + 1) / 2, colour };
});
const centre = (index: number) => [((index % 4) + 0.5) / 4, (Math.floor(index / 4) + 0.5) / 2] as const;

/** What the JPEG may differ from the colours that were encoded, of 255. Measured: at most 2. */
const TOLERANCE = 4;

async function firstFrameAsJpeg(name: string, form: Partial<VideoForm>): Promise<ReadJpeg> {
  const painting = { background: [0, 0, 0] as const, patches };
  const path = makePaintedVideo(name, { options: { preset: 'ultrafast', qp: '4' }, ...form }, [
    painting,
    painting,
  ]);
  using demuxer = openDemuxer({ path, container: 'mov', ignoreEdits: false });
  const { codec, pixelAspect, orientation } = demuxer.track!;
  using decoder = createDecoder(demuxer, codec!, { skip: 'nothing', threads: 1, maximumPixels: 1e7 });
  using encoder = createJpegEncoder(pixelAspect, orientation);
  while (demuxer.next())
    for (const frame of decoder.decode(demuxer)) return await readJpeg(encoder.encode(frame));
  for (const frame of decoder.flush()) return await readJpeg(encoder.encode(frame));
  throw new Error('no frame was decoded');
}

/** Without B-frames: x265 makes up decoding times for fewer frames than it would reorder. */
const hevc = {
  encoder: 'libx265',
  options: { preset: 'ultrafast', crf: '4', 'x265-params': 'log-level=none:bframes=0' },
} as const;

describe('createJpegEncoder', () => {
  for (const matrix of ['bt601', 'bt709', 'bt2020'] as const) {
    for (const range of ['limited', 'full'] as const) {
      for (const bits of [8, 10] as const) {
        test(`shows the colours of ${matrix}, ${range} range, ${bits} bits`, async () => {
          const form = { matrix, range, bits, ...(bits === 10 ? hevc : {}) };
          const jpeg = await firstFrameAsJpeg(`${matrix}-${range}-${bits}`, form);
          const worst = colours.map((colour, index) =>
            worstDifference(jpeg.colourAt(...centre(index)), colour),
          );
          expect(Math.max(...worst)).toBeLessThanOrEqual(TOLERANCE);
        });
      }
    }
  }

  test('assumes BT.601 for standard definition and BT.709 for high definition, if the file does not say', async () => {
    const small = await firstFrameAsJpeg('untagged-small', { untagged: true, matrix: 'bt601' });
    const large = await firstFrameAsJpeg('untagged-large', {
      untagged: true,
      matrix: 'bt709',
      width: 1280,
      height: 720,
    });
    for (const jpeg of [small, large]) {
      const worst = colours.map((colour, index) => worstDifference(jpeg.colourAt(...centre(index)), colour));
      expect(Math.max(...worst)).toBeLessThanOrEqual(TOLERANCE);
    }
  });

  test('turns the picture as the display matrix says', async () => {
    const [red, green, blue] = [0, 3, 4].map((index) => colours[index]!) as [Colour, Colour, Colour];
    // The corners left top, right top and left bottom of the coded picture, where a player shows them.
    const shown = {
      0: [
        [0.1, 0.2],
        [0.9, 0.2],
        [0.1, 0.8],
      ],
      90: [
        [0.8, 0.1],
        [0.8, 0.9],
        [0.2, 0.1],
      ],
      180: [
        [0.9, 0.8],
        [0.1, 0.8],
        [0.9, 0.2],
      ],
      270: [
        [0.2, 0.9],
        [0.2, 0.1],
        [0.8, 0.9],
      ],
    } as const;
    for (const rotation of [0, 90, 180, 270] as const) {
      const jpeg = await firstFrameAsJpeg(`turned-${rotation}`, { rotation });
      expect([jpeg.width, jpeg.height]).toEqual(rotation % 180 === 0 ? [320, 180] : [180, 320]);
      for (const [corner, colour] of [red, green, blue].entries()) {
        const [x, y] = shown[rotation][corner]!;
        expect(worstDifference(jpeg.colourAt(x!, y!), colour)).toBeLessThanOrEqual(TOLERANCE);
      }
    }
  });

  test('makes pixels square by stretching the shorter side', async () => {
    const wide = await firstFrameAsJpeg('pixel-aspect-2-1', { pixelAspect: [2, 1] });
    expect([wide.width, wide.height]).toEqual([640, 180]);
    const narrow = await firstFrameAsJpeg('pixel-aspect-8-9', { pixelAspect: [8, 9] });
    expect([narrow.width, narrow.height]).toEqual([320, 203]);
    expect(worstDifference(wide.colourAt(...centre(5)), colours[5]!)).toBeLessThanOrEqual(TOLERANCE);
  });

  for (const transfer of ['pq', 'hlg'] as const) {
    test(`converts HDR (${transfer}) to the range of pictures`, async () => {
      // Code values of 58 % and 75 %: the white of paper in either transfer.
      const white = transfer === 'pq' ? 148 : 191;
      const grey = (value: number): Patch => ({
        left: 0,
        right: 1,
        top: 0,
        bottom: 1,
        colour: [value, value, value],
      });
      const levels = [white / 4, white / 2, (white * 3) / 4, white].map(Math.round);
      const columns = levels.map((level, index) => ({
        ...grey(level),
        left: index / 4,
        right: (index + 1) / 4,
      }));
      const path = makePaintedVideo(`hdr-${transfer}`, { ...hevc, bits: 10, matrix: 'bt2020', transfer }, [
        { background: [0, 0, 0], patches: columns },
      ]);
      using demuxer = openDemuxer({ path, container: 'mov', ignoreEdits: true });
      using decoder = createDecoder(demuxer, 'hevc', { skip: 'nothing', threads: 1, maximumPixels: 1e7 });
      using encoder = createJpegEncoder(1, demuxer.track!.orientation);
      demuxer.next();
      const jpegs: Uint8Array[] = [];
      for (const frame of decoder.decode(demuxer)) jpegs.push(encoder.encode(frame));
      for (const frame of decoder.flush()) jpegs.push(encoder.encode(frame));
      const jpeg = await readJpeg(jpegs[0]!);
      const shown = levels.map((_, index) => jpeg.colourAt((index + 0.5) / 4, 0.5));
      for (const [red, green, blue] of shown)
        expect(Math.max(red, green, blue) - Math.min(red, green, blue)).toBeLessThan(4);
      const brightness = shown.map(([, green]) => green);
      expect(brightness).toEqual([...brightness].sort((a, b) => a - b));
      // Paper is light but not burnt out; without a tone curve it stays a dull grey in PQ.
      expect(brightness[3]).toBeGreaterThan(180);
      expect(brightness[3]).toBeLessThan(250);
      expect(brightness[0]).toBeLessThan(60);
    });
  }
});
