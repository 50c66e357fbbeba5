import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import type { Colour } from '../../fixtures/colour-pictures.ts';
import { makePaintedVideo } from '../../fixtures/videos.ts';
import { type ReadJpeg, readJpeg, worstDifference } from '../../fixtures/videos-jpeg.ts';
import { framing, lookAt, open } from './look-at.ts';

/**
 * Made by FFmpeg's command line from `testsrc` and `color`: with `-encryption_scheme cenc-aes-ctr`,
 * `-disposition:v:0 0`, a track of one frame, `-disposition:v:0 attached_pic`, a VP9 stream without colours in a WebM with
 * those of BT.709, and HEVC with `-pix_fmt gray -color_range tv`. The encrypted WebM is a plain one with ContentEncodings.
 */
function fixture(name: string): string {
  return join(import.meta.dir, '../../fixtures/videos', name);
}

/** The first found frame as the model's input and as its picture, and the size that the description states. */
async function firstFrame(path: string) {
  await using video = await open(path);
  const frames = await Array.fromAsync(video.frames(framing));
  const { timestamp, pixels } = frames[0]!;
  const [picture] = await Array.fromAsync(video.jpegs([timestamp]));
  const { width, height } = video.description;
  return { size: [width, height], pixels, jpeg: await readJpeg(picture!.jpeg) };
}

function expectColour(jpeg: ReadJpeg, [x, y]: readonly [number, number], colour: Colour, tolerance: number) {
  const shown = jpeg.colourAt(x, y);
  expect({ colour, shown, worst: worstDifference(shown, colour) }).toSatisfy(
    ({ worst }) => worst <= tolerance,
  );
}

describe('an encrypted video', () => {
  const refusal = {
    code: 'video_unsupported',
    message: 'The video is encrypted; only unprotected videos are accepted.',
  };

  test('in MP4 is refused as encrypted', async () => {
    await expect(open(fixture('encrypted.mp4'))).rejects.toMatchObject(refusal);
  });

  test('in Matroska is refused as encrypted', async () => {
    await expect(open(fixture('encrypted.webm'))).rejects.toMatchObject(refusal);
  });
});

describe('among several tracks', () => {
  test.each([
    ['an enabled one is shown rather than a larger disabled one', 'disabled-track.mp4'],
    ['a film is shown rather than a larger photo', 'motion-photo.mp4'],
    ['a film is shown rather than its cover', 'cover.mp4'],
  ])('%s', async (_, name) => {
    const { description, colours } = await lookAt(fixture(name));
    expect([description.width, description.height]).toEqual([160, 96]);
    const [red, green] = colours[0]!;
    expect(green - red).toBeGreaterThan(100);
  });
});

describe('colours', () => {
  test('that only the container declares are used', async () => {
    const { jpeg } = await firstFrame(fixture('colours-of-the-container.webm'));
    const bars: readonly Colour[] = [
      [255, 0, 255],
      [0, 0, 255],
      [255, 255, 0],
      [0, 255, 0],
    ];
    for (const [order, colour] of bars.entries()) {
      expectColour(jpeg, [(100 + 40 * order) / 320, 0.6], colour, 3);
    }
  });

  test('of a monochrome video reach from black to white', async () => {
    const { jpeg, pixels } = await firstFrame(fixture('monochrome.mp4'));
    expectColour(jpeg, [0.25, 0.5], [0, 0, 0], 0);
    expectColour(jpeg, [0.75, 0.5], [255, 255, 255], 0);
    expect([pixels[0], pixels.at(-1)]).toEqual([0, 255]);
  });
});

describe('the shown part', () => {
  const [red, green]: readonly Colour[] = [
    [200, 30, 30],
    [30, 160, 40],
  ];
  const patch = { left: 0.25, right: 1, top: 0.5, bottom: 1, colour: green! };
  const painting = { background: red!, patches: [patch] };

  test.each(['mp4', 'matroska'] as const)('is what the clean aperture leaves, in %s', async (container) => {
    const form = { container, cropping: [90, 0, 80, 60] as const, rotation: 90 as const };
    const path = makePaintedVideo(`cropped-${container}`, form, [painting, painting]);
    const { size, jpeg, pixels } = await firstFrame(path);
    expect(size).toEqual([90, 180]);
    expect([jpeg.width, jpeg.height]).toEqual([90, 180]);
    for (const corner of [0.05, 0.95]) expectColour(jpeg, [corner, corner], green!, 8);
    for (const at of [0, pixels.length - 3]) {
      expect(worstDifference([...pixels.subarray(at, at + 3)] as never, green!)).toBeLessThan(8);
    }
  });

  test.each([
    [
      [5, 1],
      [1600, 180],
    ],
    [
      [1, 9],
      [320, 1620],
    ],
    [
      [11, 1],
      [320, 180],
    ],
  ] as const)('with pixels of %p is shown at %p', async (pixelAspect, shown) => {
    const path = makePaintedVideo(`pixels-${pixelAspect.join('-')}`, { pixelAspect }, [painting, painting]);
    const { size, jpeg } = await firstFrame(path);
    expect(size).toEqual([...shown]);
    expect([jpeg.width, jpeg.height]).toEqual([...shown]);
  });
});
