import { describe, expect, test } from 'bun:test';
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pauseBeforeRetry, retryDelays } from '../../../src/clip/store/prepare-model.ts';
import type { StoreOptions } from '../../../src/clip/store/store-context.ts';
import { fastTimings } from './fast-timings.ts';
import { recordingLog } from './recording-log.ts';
import { temporaryFolder } from './temporary-folder.ts';

const HOUR_MS = 3_600_000;
const never = new AbortController().signal;

function optionsFor(name: string, cacheDirectory: string): StoreOptions {
  return {
    model: { name, cacheDirectory, url: undefined, precision: 'auto', demoFallback: false },
    log: recordingLog(),
    usualDirectories: [],
    timings: fastTimings,
  };
}

test('pauses grow to five minutes, and then for ever', () => {
  const delays = retryDelays();
  const first = Array.from({ length: 9 }, () => delays.next().value / 1000);
  expect(first).toEqual([5, 10, 20, 40, 80, 160, 300, 300, 300]);
});

describe('a pause before the next attempt', () => {
  test('ends after its time', async () => {
    await using folder = await temporaryFolder();
    await pauseBeforeRetry(optionsFor('ViT-B/32', folder.path), 120, never);
    await pauseBeforeRetry(optionsFor('demo', folder.path), 1, never);
    await pauseBeforeRetry(optionsFor('no such model', folder.path), 1, never);
  });

  test('ends when a checkpoint has been put where it is looked for', async () => {
    await using folder = await temporaryFolder();
    const pause = pauseBeforeRetry(optionsFor('ViT-B/32', folder.path), HOUR_MS, never, 'storage_full');
    await Bun.sleep(fastTimings.pollMs);
    await writeFile(join(folder.path, 'model.safetensors'), 'weights');
    await pause;
  });

  test('ends when that was done while the download was still being tried', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'model.safetensors'), 'weights');
    await pauseBeforeRetry(optionsFor('ViT-B/32', folder.path), HOUR_MS, never, 'download_failed');
  });

  test('ends when the file that CLIP_MODEL names is there', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'mine.pt');
    const pause = pauseBeforeRetry(optionsFor(path, folder.path), HOUR_MS, never, 'checkpoint_missing');
    await writeFile(path, 'weights');
    await pause;
  });

  test('ends when an unsound checkpoint is replaced, not before', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'ViT-B-32.pt');
    await writeFile(path, 'unsound');
    let ended = false;
    const options = optionsFor('ViT-B/32', folder.path);
    const pause = pauseBeforeRetry(options, HOUR_MS, never, 'checkpoint_unsound').then(() => {
      ended = true;
    });
    await Bun.sleep(6 * fastTimings.pollMs);
    expect(ended).toBe(false);
    await writeFile(path, 'sound weights');
    await pause;
  });

  test('waits until a file that is being copied has come to rest', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'ViT-B-32.pt');
    let ended = false;
    // Seldom enough that the file has grown each time, however slow the disk is.
    const pollMs = 500;
    const options = { ...optionsFor('ViT-B/32', folder.path), timings: { ...fastTimings, pollMs } };
    const pause = pauseBeforeRetry(options, HOUR_MS, never).then(() => {
      ended = true;
    });
    let longestRestMs = 0;
    for (const startedAt = performance.now(); performance.now() - startedAt < 4 * pollMs; ) {
      const writtenAt = performance.now();
      await appendFile(path, 'piece');
      await Bun.sleep(pollMs / 100);
      longestRestMs = Math.max(longestRestMs, performance.now() - writtenAt);
    }
    // If the machine was suspended for that long, the file has indeed stopped growing.
    if (longestRestMs < pollMs) expect(ended).toBe(false);
    await pause;
  });

  test('ends at once when the service stops', async () => {
    await using folder = await temporaryFolder();
    const controller = new AbortController();
    const pause = pauseBeforeRetry(optionsFor('ViT-B/32', folder.path), HOUR_MS, controller.signal);
    controller.abort();
    await expect(pause).rejects.toThrow();
  });
});
