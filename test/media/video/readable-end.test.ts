import { describe, expect, test } from 'bun:test';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { readableEnd } from '../../../src/media/video/readable-end.ts';
import { makeVideo, manyScenes, videoFolder } from '../../fixtures/videos.ts';

const MEBI = 1024 ** 2;

async function endOf(path: string, container: Parameters<typeof readableEnd>[2]): Promise<number> {
  const descriptor = openSync(path, 'r');
  try {
    return await readableEnd(descriptor, fstatSync(descriptor).size, container, async () => undefined);
  } finally {
    closeSync(descriptor);
  }
}

/** @returns the file, and the length of the video that it begins with */
async function padded(container: 'mp4' | 'avi' | 'matroska' | 'mpegts', bytes: number) {
  const video = Bun.file(makeVideo({ scenes: manyScenes(1, 1), container }).path);
  const path = join(videoFolder(), `padded to ${bytes}.${container}`);
  await Bun.write(path, video);
  if (bytes > video.size) await truncate(path, bytes);
  return { path, length: video.size };
}

describe.each([
  ['mpegts', 32],
  ['avi', 64],
  ['matroska', 512],
] as const)('the readable part of %s', (container, mostMebibytes) => {
  test('is whole without anything after it', async () => {
    const { path, length } = await padded(container, 0);
    expect(await endOf(path, container)).toBe(length);
  });

  test('includes what is read quickly anyway', async () => {
    const bytes = mostMebibytes * MEBI;
    expect(await endOf((await padded(container, bytes)).path, container)).toBe(bytes);
  });

  test('ends soon after its last packets', async () => {
    const { path, length } = await padded(container, (mostMebibytes + 20) * MEBI);
    expect(await endOf(path, container)).toBeWithin(length, length + 8 * MEBI);
  });

  test('is everything where no packet is recognised', async () => {
    const path = join(videoFolder(), `nothing.${container}`);
    await Bun.write(path, '');
    await truncate(path, (mostMebibytes + 20) * MEBI);
    expect(await endOf(path, container)).toBe((mostMebibytes + 20) * MEBI);
  });
});

test('noise is not taken for packets', async () => {
  const { path, length } = await padded('mpegts', 0);
  const noise = crypto.getRandomValues(Buffer.alloc(65_521));
  await Bun.write(path, Buffer.concat([await Bun.file(path).bytes(), Buffer.alloc(40 * MEBI, noise)]));
  expect(await endOf(path, 'mpegts')).toBeWithin(length, length + 8 * MEBI);
});

test('MP4 is read as its tables say', async () => {
  const { path } = await padded('mp4', 600 * MEBI);
  expect(await endOf(path, 'mov')).toBe(600 * MEBI);
});
