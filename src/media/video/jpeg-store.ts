import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';

/** Pictures kept on disk, by their frames' timestamps. */
export interface JpegStore extends Disposable {
  /** Keeps a picture, or not where there is no room for it. */
  put(timestamp: number, jpeg: Uint8Array): void;
  get(timestamp: number): Uint8Array | undefined;
}

/** 3,000 pictures in 1080p; beyond it, frames are decoded once more. */
const MAXIMUM_BYTES = 1024 ** 3;

/**
 * Some 300 KB a picture are too much for memory. The file has no name from the beginning, so that it goes
 * with the process, however that ends.
 * @param path of the file, taken for a moment when the first picture comes
 */
export function createJpegStore(path: string): JpegStore {
  const places = new Map<number, { readonly position: number; readonly length: number }>();
  let descriptor: number | undefined;
  let end = 0;
  let full = false;

  const open = (): number => {
    const opened = openSync(path, 'wx+', 0o600);
    unlinkSync(path);
    return opened;
  };

  return {
    put(timestamp, jpeg) {
      if (full || end + jpeg.length > MAXIMUM_BYTES) return;
      try {
        descriptor ??= open();
        const length = writeSync(descriptor, jpeg, 0, jpeg.length, end);
        if (length < jpeg.length) return;
        places.set(timestamp, { position: end, length });
        end += length;
      } catch {
        // The disk is full, or may not be written: the frame can be decoded once more instead.
        full = true;
      }
    },
    get(timestamp) {
      const place = places.get(timestamp);
      if (!place || descriptor === undefined) return undefined;
      const jpeg = new Uint8Array(place.length);
      return readSync(descriptor, jpeg, 0, place.length, place.position) === place.length ? jpeg : undefined;
    },
    [Symbol.dispose]() {
      if (descriptor !== undefined) closeSync(descriptor);
      descriptor = undefined;
      places.clear();
    },
  };
}
