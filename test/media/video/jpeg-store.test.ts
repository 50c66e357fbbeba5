import { describe, expect, test } from 'bun:test';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createJpegStore } from '../../../src/media/video/video-session.ts';

describe('createJpegStore', () => {
  test('returns pictures, and leaves no visible file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
    try {
      using store = createJpegStore(join(folder, 'pictures'));
      expect(store.get(1)).toBeUndefined();
      store.put(1.5, Uint8Array.of(1, 2, 3));
      store.put(2.5, Uint8Array.of(4, 5));
      expect(await readdir(folder)).toEqual([]);
      expect(store.get(1.5)).toEqual(Uint8Array.of(1, 2, 3));
      expect(store.get(2.5)).toEqual(Uint8Array.of(4, 5));
      expect(store.get(3.5)).toBeUndefined();
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('keeps nothing if the disk is not writable', () => {
    using store = createJpegStore('/nowhere/to/be/found');
    store.put(1, Uint8Array.of(1));
    expect(store.get(1)).toBeUndefined();
  });
});
