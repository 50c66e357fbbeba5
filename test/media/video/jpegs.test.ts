import { describe, expect, test } from 'bun:test';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { FrameJpeg } from '../../../src/media/video/frame-source.ts';
import { openVideoSession, type VideoSession } from '../../../src/media/video/video-session.ts';
import { makePaintedVideo, type VideoForm, videoFolder } from '../../fixtures/videos.ts';
import { type ReadJpeg, readJpeg } from '../../fixtures/videos-jpeg.ts';
import type { Painting, Patch } from '../../fixtures/videos-paint.ts';
import { geometry, side } from './look-at.ts';

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

function numberIn(jpeg: ReadJpeg): number {
  let number = 0;
  for (let bit = 0; bit < BITS; bit++) {
    const [, green] = jpeg.colourAt((bit + 0.5) / BITS, 0.05);
    if (green > 128) number |= 1 << bit;
  }
  return number;
}

function find(session: VideoSession): number[] {
  const placement = { ...geometry(session.description.width, session.description.height), side };
  return [...session.find(placement, 512)].flatMap(({ frame }) => (frame ? [frame.timestamp] : []));
}

function picturesOf(session: VideoSession, timestamps: readonly number[]): FrameJpeg[] {
  return [...session.jpegs(timestamps)].filter((picture) => picture !== undefined);
}

const withoutCuts = { preset: 'veryfast', g: '250', sc_threshold: '0', bf: '3', b_strategy: '0' };

const forms: Readonly<Record<string, Partial<VideoForm>>> = {
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
  'in MPEG-4': { encoder: 'mpeg4', options: { g: '100', bf: '2', qmax: '4' } },
};

describe('jpegs are of exactly the frames that were found', () => {
  for (const [name, form] of Object.entries(forms)) {
    test(name, async () => {
      const timeOf = form.timeOf ?? ((index: number) => index * 40);
      const frames = 420;
      const paintings = Array.from({ length: frames }, (_, index) => numbered(index));
      const path = makePaintedVideo(`numbered ${name}`, form, paintings);
      using session = await openVideoSession(path, { videoSeconds: 100, threads: 2 }, async () => undefined);
      const timestamps = find(session);
      expect(timestamps.length).toBeGreaterThan(10);
      // A file's time begins with what it shows first; an edit list says what that is.
      const beginning = Math.max(0, timeOf(0));
      const found: number[] = [];
      for (const { timestamp, jpeg } of picturesOf(session, timestamps)) {
        const number = numberIn(await readJpeg(jpeg));
        expect((timeOf(number) - beginning) / 1000).toBeCloseTo(timestamp, 2);
        found.push(timestamp);
      }
      expect(found.sort((a, b) => a - b)).toEqual(timestamps);
    });
  }

  test('in any number, and once more', async () => {
    const path = makePaintedVideo(
      'numbered twice',
      { options: withoutCuts },
      Array.from({ length: 200 }, (_, index) => numbered(index)),
    );
    using session = await openVideoSession(path, { videoSeconds: 100, threads: 1 }, async () => undefined);
    const timestamps = find(session);
    expect(picturesOf(session, [])).toEqual([]);
    const last = timestamps.at(-1)!;
    const first = picturesOf(session, [last]);
    expect(picturesOf(session, [last])).toEqual(first);
  });

  test('decoded for the encoder that only the first packet names', async () => {
    const sound = makePaintedVideo(
      'numbered in 4:4:4',
      { chroma: '4:4:4', options: { ...withoutCuts, g: '50' } },
      Array.from({ length: 100 }, (_, index) => numbered(index)),
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
    const path = makePaintedVideo(
      'numbered alone',
      { options: { ...withoutCuts, g: '9999' } },
      Array.from({ length: 400 }, (_, index) => numbered(index)),
    );
    using session = await openVideoSession(path, { videoSeconds: 100, threads: 1 }, async () => undefined);
    const timestamps = find(session);
    expect(picturesOf(session, timestamps).length).toBe(timestamps.length);
    const files = (await readdir(dirname(path))).filter((file) => !before.has(file));
    expect(files).toEqual(['numbered alone.mp4']);
  });
});
