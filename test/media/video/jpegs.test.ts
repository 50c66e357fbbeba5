import { describe, expect, test } from 'bun:test';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createDecodingBudget } from '../../../src/media/video/decoding-budget.ts';
import { decodeJpegs, type FrameJpeg } from '../../../src/media/video/frame-source.ts';
import { lookIntoFile } from '../../../src/media/video/video-file.ts';
import {
  type FoundFrame,
  openVideoSession,
  type VideoSession,
} from '../../../src/media/video/video-session.ts';
import { makePaintedVideo, type VideoForm, videoFolder } from '../../fixtures/videos.ts';
import { type ReadJpeg, readJpeg } from '../../fixtures/videos-jpeg.ts';
import { type Muxing, muxTogether } from '../../fixtures/videos-muxed.ts';
import { packFrames } from '../../fixtures/videos-packed.ts';
import type { Painting, Patch } from '../../fixtures/videos-paint.ts';
import { differenceOf, geometry, SAME_PICTURE, side } from './look-at.ts';

const BITS = 10;
/** Scenes of this number of frames. Background and pattern change with each scene. */
const SCENE_FRAMES = 20;

/** A frame that says which one it is: a column for each bit of its number, white or black. */
function numbered(index: number): Painting {
  const patches: Patch[] = Array.from({ length: BITS }, (_, bit) => ({
    left: bit / BITS,
    right: (bit + 1) / BITS,
    top: 0,
    bottom: 0.1,
    colour: (index >> bit) & 1 ? [240, 240, 240] : [15, 15, 15],
  }));
  const scene = Math.floor(index / SCENE_FRAMES);
  return { background: [(scene * 97) % 256, (scene * 53) % 256, (scene * 151) % 256], patches, grain: 4 };
}

/** Videos of frames that say which one they are. Small ones: what is checked is which frames are returned. */
function makeNumberedVideo(name: string, form: Partial<VideoForm>, frames: number): string {
  const paintings = Array.from({ length: frames }, (_, index) => numbered(index));
  return makePaintedVideo(name, { width: 160, height: 90, ...form }, paintings);
}

function numberIn(jpeg: ReadJpeg): number {
  let number = 0;
  for (let bit = 0; bit < BITS; bit++) {
    const [, green] = jpeg.colourAt((bit + 0.5) / BITS, 0.05);
    if (green > 128) number |= 1 << bit;
  }
  return number;
}

function find(session: VideoSession): FoundFrame[] {
  const placement = { ...geometry(session.description.width, session.description.height), side };
  return [...session.find(placement, 512)].flatMap(({ frame }) => frame ?? []);
}

function picturesOf(session: VideoSession, timestamps: readonly number[]): FrameJpeg[] {
  return [...session.jpegs(timestamps)].filter((picture) => picture !== undefined);
}

const withoutCuts = { preset: 'veryfast', g: '250', sc_threshold: '0', bf: '3', b_strategy: '0' };

const forms: Readonly<Record<string, Partial<VideoForm> & { readonly muxing?: Muxing }>> = {
  'with B-frames': { options: withoutCuts },
  'with a keyframe every second': { options: { ...withoutCuts, g: '25' } },
  'with a single keyframe, kept aside': { options: { ...withoutCuts, g: '9999' } },
  'at a variable rate': { options: withoutCuts, timeOf: (index) => index * 40 + (index % 5) * 7 },
  'with an edit list': { options: withoutCuts, timeOf: (index) => index * 40 - 1000 },
  'that begin late': { options: withoutCuts, timeOf: (index) => index * 40 + 700 },
  'in Matroska': { options: withoutCuts, container: 'matroska' },
  'in Matroska that begin late': {
    options: withoutCuts,
    container: 'matroska',
    timeOf: (index) => index * 40 + 700,
  },
  'in fragments': {
    options: { ...withoutCuts, g: '50' },
    muxerOptions: { movflags: 'frag_keyframe+empty_moov' },
  },
  'in HEVC with open groups': {
    encoder: 'libx265',
    options: { preset: 'ultrafast', 'x265-params': 'log-level=none:keyint=50:open-gop=1:scenecut=0' },
  },
  'in AV1': { encoder: 'libsvtav1', options: { preset: '12' } },
  'in VP9': { encoder: 'libvpx-vp9', container: 'webm', options: { deadline: 'realtime', 'cpu-used': '8' } },
  'with intra refresh': {
    options: { ...withoutCuts, 'x264-params': 'intra-refresh=1:keyint=25:scenecut=0' },
  },
  'with open groups': {
    options: { ...withoutCuts, bf: '8', 'x264-params': 'open-gop=1:keyint=50:b-pyramid=normal' },
  },
  'in HEVC with intra refresh': {
    encoder: 'libx265',
    options: { preset: 'ultrafast', 'x265-params': 'log-level=none:keyint=25:intra-refresh=1:scenecut=0' },
  },
  'of which no packet is marked as a keyframe': {
    encoder: 'libx265',
    options: { preset: 'ultrafast', 'x265-params': 'log-level=none:keyint=50' },
    muxing: { muxer: 'matroska', keys: 'none' },
  },
  'of which every packet is marked as a keyframe': {
    options: { ...withoutCuts, g: '50' },
    muxing: { muxer: 'mp4', keys: 'all' },
  },
  'in VP9 of which every packet is marked as a keyframe': {
    encoder: 'libvpx-vp9',
    container: 'webm',
    options: { deadline: 'realtime', 'cpu-used': '8', g: '50' },
    muxing: { muxer: 'webm', keys: 'all' },
  },
  'in MPEG-4 of which every packet is marked as a keyframe': {
    encoder: 'mpeg4',
    options: { g: '50', bf: '2', qmax: '4' },
    muxing: { muxer: 'mp4', keys: 'all' },
  },
  'in AV1 of which every packet is marked as a keyframe': {
    encoder: 'libsvtav1',
    options: { preset: '12', g: '50' },
    muxing: { muxer: 'mp4', keys: 'all' },
  },
  'in HEVC of which every packet is marked as a keyframe': {
    encoder: 'libx265',
    options: { preset: 'ultrafast', 'x265-params': 'log-level=none:keyint=50' },
    muxing: { muxer: 'matroska', keys: 'all' },
  },
  'in HEVC of which some keyframes are not marked': {
    encoder: 'libx265',
    options: { preset: 'ultrafast', 'x265-params': 'log-level=none:keyint=50' },
    muxing: { muxer: 'mp4', keys: 'few' },
  },
  'in MPEG-4': { encoder: 'mpeg4', options: { g: '100', bf: '2', qmax: '4' } },
};

describe('jpegs are of exactly the frames that were found', () => {
  for (const [name, form] of Object.entries(forms)) {
    test(name, async () => {
      const timeOf = form.timeOf ?? ((index: number) => index * 40);
      const made = makeNumberedVideo(`numbered ${name}`, form, 420);
      const path = form.muxing ? `${made} again` : made;
      if (form.muxing) muxTogether(path, made, undefined, form.muxing);
      // A file's time begins with what it shows first; an edit list says what that is.
      const beginning = Math.max(0, timeOf(0));
      for (const heldBytes of [Number.POSITIVE_INFINITY, 0]) {
        const limits = { videoSeconds: 100, threads: 2, heldBytes };
        using session = await openVideoSession(path, limits, async () => undefined);
        const scored = new Map(find(session).map(({ timestamp, pixels }) => [timestamp, pixels]));
        const timestamps = [...scored.keys()];
        expect(timestamps.length).toBeGreaterThan(10);
        const found: number[] = [];
        for (const { timestamp, jpeg, differs } of picturesOf(session, timestamps)) {
          const number = numberIn(await readJpeg(jpeg));
          expect((timeOf(number) - beginning) / 1000).toBeCloseTo(timestamp, 2);
          expect(differs).toBeUndefined();
          expect(await differenceOf(jpeg, scored.get(timestamp)!)).toBeLessThan(SAME_PICTURE);
          found.push(timestamp);
        }
        expect(found.sort((a, b) => a - b)).toEqual(timestamps);
      }
    }, 60_000);
  }

  test('in MPEG-4 that is stamped in the order of decoding, when players show them', async () => {
    const made = makeNumberedVideo(
      'numbered in MPEG-4 to stamp again',
      { encoder: 'mpeg4', options: { g: '100', bf: '2', qmax: '4', b_strategy: '0' } },
      100,
    );
    const path = join(videoFolder(), 'numbered as decoded.mp4');
    muxTogether(path, made, undefined, { muxer: 'mp4', misstamped: true, pictureMs: 40 });
    using session = await openVideoSession(path, { videoSeconds: 100, threads: 2 }, async () => undefined);
    const timestamps = find(session).map(({ timestamp }) => timestamp);
    const pictures = picturesOf(session, timestamps);
    expect(pictures.length).toBe(timestamps.length);
    for (const { timestamp, jpeg } of pictures) {
      // The decoder is one frame behind, except for the first.
      const shown = Math.max(0, Math.round(timestamp * 25) - 1);
      expect(numberIn(await readJpeg(jpeg))).toBe(shown);
    }
  });

  describe.each([
    ['AVI', undefined, 1],
    ['AVI, packed', packFrames, 1],
    ['AVI', undefined, 2],
    ['AVI, packed', packFrames, 2],
  ])('in MPEG-4 in %s', (_, pack, between) => {
    test(`with ${between} between two others, when they leave the decoder`, async () => {
      const made = makeNumberedVideo(
        `numbered in AVI ${between}`,
        {
          container: 'avi',
          encoder: 'mpeg4',
          options: { g: '30', bf: String(between), qmax: '4', b_strategy: '0' },
          // Libav takes packets of less than 20 bytes, which small pictures have, for packed ones.
          width: 320,
          height: 180,
        },
        100,
      );
      const path = pack ? `${made} packed` : made;
      pack?.(made, path);
      for (const heldBytes of [Number.POSITIVE_INFINITY, 0]) {
        const limits = { videoSeconds: 100, threads: 2, heldBytes };
        using session = await openVideoSession(path, limits, async () => undefined);
        const timestamps = find(session).map(({ timestamp }) => timestamp);
        expect(timestamps.length).toBeGreaterThan(10);
        const pictures = picturesOf(session, timestamps);
        expect(pictures.map(({ timestamp }) => timestamp)).toEqual(timestamps);
        for (const { timestamp, jpeg, differs } of pictures) {
          expect(differs).toBeUndefined();
          // The decoder is one frame behind.
          expect(numberIn(await readJpeg(jpeg))).toBe(Math.round(timestamp * 25) - 1);
        }
      }
    });
  });

  test('or marked, where the picture at that time is another one', async () => {
    const path = makeNumberedVideo(
      'numbered, with another look',
      { options: { ...withoutCuts, g: '25' } },
      100,
    );
    const file = await lookIntoFile(path, 100, async () => undefined);
    const picturesWith = (look: Uint8Array) => {
      const budget = createDecodingBudget(Number.POSITIVE_INFINITY);
      const limits = { threads: 1, maximumPixels: 1e6 };
      const wanted = [
        { timestamp: 1, look: undefined },
        { timestamp: 2, look },
        { timestamp: 3, look: undefined },
      ];
      return [...decodeJpegs(file, limits, budget, wanted)].flatMap((picture) => picture ?? []);
    };
    const pictures = picturesWith(new Uint8Array(16 * 16 * 3));
    expect(pictures.map(({ timestamp, differs }) => [timestamp, differs])).toEqual([
      [1, undefined],
      [2, true],
      [3, undefined],
    ]);
    for (const { timestamp, jpeg } of pictures) expect(numberIn(await readJpeg(jpeg))).toBe(timestamp * 25);
  });

  test('in any number, and once more', async () => {
    const path = makeNumberedVideo('numbered twice', { options: withoutCuts }, 200);
    using session = await openVideoSession(path, { videoSeconds: 100, threads: 1 }, async () => undefined);
    const timestamps = find(session).map(({ timestamp }) => timestamp);
    expect(picturesOf(session, [])).toEqual([]);
    const last = timestamps.at(-1)!;
    const first = picturesOf(session, [last]);
    expect(picturesOf(session, [last])).toEqual(first);
  });

  test('decoded for the encoder that only the first packet names', async () => {
    const sound = makeNumberedVideo(
      'numbered in 4:4:4',
      { chroma: '4:4:4', options: { ...withoutCuts, g: '50' } },
      100,
    );
    // That version encoded 4:4:4 in another way. Without its name, frames are decoded to garbage.
    const bytes = await readFile(sound);
    const version = bytes.indexOf('x264 - core ') + 'x264 - core '.length;
    expect(version).toBeGreaterThan('x264 - core '.length);
    bytes.write('142', version);
    const renamed = join(videoFolder(), 'numbered by an old encoder.mp4');
    await writeFile(renamed, bytes);
    const pictureOf = async (path: string) => {
      using session = await openVideoSession(path, { videoSeconds: 100, threads: 1 }, async () => undefined);
      return picturesOf(session, [2])[0]?.jpeg;
    };
    expect(await pictureOf(renamed)).not.toEqual(await pictureOf(sound));
  });

  test('and leave no files beside the video', async () => {
    const before = new Set(await readdir(videoFolder()));
    const path = makeNumberedVideo('numbered alone', { options: { ...withoutCuts, g: '9999' } }, 400);
    using session = await openVideoSession(path, { videoSeconds: 100, threads: 1 }, async () => undefined);
    const timestamps = find(session).map(({ timestamp }) => timestamp);
    expect(picturesOf(session, timestamps).length).toBe(timestamps.length);
    const files = (await readdir(dirname(path))).filter((file) => !before.has(file));
    expect(files).toEqual(['numbered alone.mp4']);
  });
});
