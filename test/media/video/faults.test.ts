import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { makeVideo, manyScenes, videoFolder } from '../../fixtures/videos.ts';
import { encodeSilence } from '../../fixtures/videos-sound.ts';
import { framing, lookAt, open } from './look-at.ts';

async function refusal(
  path: string,
  options: Parameters<typeof open>[1] = {},
): Promise<{ code: string; message: string }> {
  try {
    await using reader = await open(path, options);
    for await (const _ of reader.frames(framing));
  } catch (fault) {
    const { code, message } = fault as { code: string; message: string };
    return { code, message };
  }
  throw new Error('nothing was refused');
}

async function file(name: string, bytes: Uint8Array | string): Promise<string> {
  const path = join(videoFolder(), name);
  await Bun.write(path, bytes);
  return path;
}

const ACCEPTED = 'MP4, M4V, MOV, 3GP, WebM, MKV, AVI and MPEG-TS videos are accepted.';

describe('an unusable file is refused with a sentence', () => {
  test('an empty file', async () => {
    expect(await refusal(await file('empty.mp4', ''))).toEqual({
      code: 'video_broken',
      message: `The file is empty (0 bytes); ${ACCEPTED}`,
    });
  });

  test('no video', async () => {
    const jpeg = await file('picture.mp4', Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 16));
    expect(await refusal(jpeg)).toEqual({
      code: 'video_unsupported',
      message: `The file is a JPEG picture; ${ACCEPTED}`,
    });
    expect(await refusal(await file('text.mp4', 'hello'))).toEqual({
      code: 'video_unsupported',
      message: `The file is text; ${ACCEPTED}`,
    });
  });

  test('a file without pictures', async () => {
    const path = join(videoFolder(), 'silence.mp4');
    encodeSilence(path, 1);
    expect(await refusal(path)).toEqual({
      code: 'video_unsupported',
      message:
        'The file has no video track; a track in H.264, HEVC, AV1, VP9, VP8, MPEG-4 or Motion JPEG is required.',
    });
  });

  test('a codec that is not accepted', async () => {
    const { path } = makeVideo({
      scenes: manyScenes(1, 0.5),
      encoder: 'mpeg2video',
      options: { strict: 'experimental' },
    });
    expect(await refusal(path)).toEqual({
      code: 'video_unsupported',
      message:
        'The video is encoded as mpeg2video; H.264, HEVC, AV1, VP9, VP8, MPEG-4 and Motion JPEG are accepted.',
    });
  });

  test('a file whose index was cut off', async () => {
    const bytes = await Bun.file(makeVideo({ scenes: manyScenes(2, 1) }).path).bytes();
    expect(await refusal(await file('cut.mp4', bytes.subarray(0, bytes.length / 2)))).toEqual({
      code: 'video_broken',
      message:
        'The video is cut short or damaged: the index of its frames (the moov box) is missing or cannot be read.',
    });
  });

  test('a video that is too long', async () => {
    const { path } = makeVideo({ scenes: manyScenes(4, 1) });
    expect(await refusal(path, { limits: { videoSeconds: 3 } })).toEqual({
      code: 'video_too_large',
      message: 'The video is longer than 3 seconds, the longest that is accepted.',
    });
  });

  test('a file whose every frame is noise', async () => {
    const { path } = makeVideo({ scenes: manyScenes(2, 1), muxerOptions: { movflags: 'faststart' } });
    const bytes = await Bun.file(path).bytes();
    const start = Buffer.from(bytes).indexOf('mdat') + 4;
    for (let at = start; at < bytes.length; at++) bytes[at] = (at * 7919) % 251;
    expect(await refusal(await file('noise.mp4', bytes))).toEqual({
      code: 'video_broken',
      message: 'The video is damaged: none of its frames can be decoded.',
    });
  });
});

describe('the usable part of a damaged file is used', () => {
  const whole = makeVideo({
    scenes: manyScenes(8, 1),
    muxerOptions: { movflags: 'faststart' },
    options: { preset: 'veryfast', g: '25' },
  });

  test('up to where it was cut off, with a warning', async () => {
    const bytes = await Bun.file(whole.path).bytes();
    const path = await file('half.mp4', bytes.subarray(0, Math.round(bytes.length * 0.6)));
    const { timestamps, warnings, description } = await lookAt(path);
    expect(timestamps.length).toBeGreaterThanOrEqual(4);
    expect(description.duration).toBeLessThan(6);
    expect(warnings[0]).toMatch(/^The video's data end after \d\.\d of 8\.0 seconds; the rest is missing\.$/);
  });

  test('of a Matroska file, whose tracks have no declared length', async () => {
    const matroska = makeVideo({
      scenes: manyScenes(8, 1),
      container: 'matroska',
      options: { preset: 'veryfast', g: '25' },
    });
    const bytes = await Bun.file(matroska.path).bytes();
    for (const share of [0.3, 0.6, 0.9]) {
      const path = await file('half.mkv', bytes.subarray(0, Math.round(bytes.length * share)));
      expect((await lookAt(path)).warnings[0]).toMatch(
        /^The video's data end after \d\.\d seconds; the rest is missing\.$/,
      );
    }
    expect((await lookAt(matroska.path)).warnings).toEqual([]);
  });

  test('around damage, with a warning', async () => {
    const bytes = await Bun.file(whole.path).bytes();
    const middle = Math.round(bytes.length * 0.5);
    bytes.fill(0x55, middle, middle + 6000);
    const { timestamps, warnings } = await lookAt(await file('damaged.mp4', bytes));
    expect(timestamps.length).toBeGreaterThanOrEqual(6);
    expect(warnings.join()).toMatch(/are damaged; they may be missing or distorted/);
  });

  test('and a sound file has no warnings', async () => {
    expect((await lookAt(whole.path)).warnings).toEqual([]);
  });
});
