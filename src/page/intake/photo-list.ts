import type { Photo } from '../results/photo.ts';
import type { FoundFile } from './found-file.ts';

/** The photos on the page. */
export interface PhotoList {
  readonly all: readonly Photo[];
  /** @returns how many were new; the same file, dropped again, is not taken twice */
  add(files: readonly FoundFile[]): number;
  clear(): void;
}

export function createPhotoList(): PhotoList {
  let photos: Photo[] = [];
  const known = new Set<string>();
  let nextId = 0;
  return {
    get all() {
      return photos;
    },
    add(files) {
      const before = photos.length;
      for (const { file, path } of files) {
        const identity = `${path}\0${file.size}\0${file.lastModified}`;
        if (known.has(identity)) continue;
        known.add(identity);
        photos.push({ id: nextId++, file, path });
      }
      return photos.length - before;
    },
    clear() {
      photos = [];
      known.clear();
    },
  };
}
