import type { Photo } from '../results/photo.ts';
import type { FoundFile } from './found-files.ts';

/** The photos on the page. */
interface PhotoList {
  readonly all: readonly Photo[];
  /**
   * Adds files in slices, because a browser reads the size of each file from the disk.
   * @param onSome called between slices
   * @returns the number of new files; a file that was added before is skipped
   */
  add(files: readonly FoundFile[], onSome?: () => void): Promise<number>;
  remove(photo: Photo): void;
  clear(): void;
}

/** A longer slice would block the page noticeably. */
const SLICE_MS = 30;

export function createPhotoList(): PhotoList {
  let photos: Photo[] = [];
  let byPath = new Map<string, Photo[]>();
  let nextId = 0;
  let cleared = 0;

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
      const turn = cleared;
      let added = 0;
      let restedAt = performance.now();
      for (const found of files) {
        if (performance.now() - restedAt > SLICE_MS) {
          onSome();
          await new Promise((resolve) => setTimeout(resolve));
          restedAt = performance.now();
        }
        // The list was cleared in the meantime.
        if (cleared !== turn) break;
        if (take(found)) added++;
      }
      return added;
    },
    remove(photo) {
      photos = photos.filter((other) => other !== photo);
      const namesakes = byPath.get(photo.path) ?? [];
      byPath.set(
        photo.path,
        namesakes.filter((other) => other !== photo),
      );
    },
    clear() {
      cleared += 1;
      photos = [];
      byPath = new Map();
    },
  };
}
