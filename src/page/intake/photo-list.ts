import type { Photo } from '../results/photo.ts';
import type { FoundFile } from './found-file.ts';

/** The photos on the page. */
export interface PhotoList {
  readonly all: readonly Photo[];
  /**
   * Takes files, some at a time: a browser looks each of them up on the disk, and thousands take seconds.
   * @param onSome called now and then while it lasts
   * @returns how many were new; the same file, dropped again, is not taken twice
   */
  add(files: readonly FoundFile[], onSome?: () => void): Promise<number>;
  clear(): void;
}

/** A page that does not answer for longer feels stuck. */
const SLICE_MS = 30;

export function createPhotoList(): PhotoList {
  let photos: Photo[] = [];
  let byPath = new Map<string, Photo[]>();
  let nextId = 0;

  const take = ({ file, path }: FoundFile): boolean => {
    const namesakes = byPath.get(path) ?? [];
    const bytes = file.size;
    const isKnown = namesakes.some(
      (other) => other.bytes === bytes && other.file.lastModified === file.lastModified,
    );
    if (isKnown) return false;
    const photo = { id: nextId++, file, bytes, path };
    photos.push(photo);
    byPath.set(path, [...namesakes, photo]);
    return true;
  };

  return {
    get all() {
      return photos;
    },
    async add(files, onSome = () => undefined) {
      const list = photos;
      let added = 0;
      let restedAt = performance.now();
      for (const found of files) {
        if (performance.now() - restedAt > SLICE_MS) {
          onSome();
          await new Promise((resolve) => setTimeout(resolve));
          restedAt = performance.now();
        }
        // Cleared meanwhile.
        if (photos !== list) break;
        if (take(found)) added++;
      }
      return added;
    },
    clear() {
      photos = [];
      byPath = new Map();
    },
  };
}
